//! The admin API: JSON over HTTP under `/v1`, on loopback. Any process answers for the whole group.

mod load;
mod moves;
mod reply;
mod routes;
mod servers;
mod volumes;

use crate::ask::ServerHandle;
use crate::config::ServeConfig;
use crate::names::TargetNames;
use axum::Router;
use axum::routing::{get, put};
use evenkeel_meta::{Directory, Keyspace};
use std::sync::Arc;

/// What every handler has.
pub(crate) struct Group {
    pub(crate) config: ServeConfig,
    pub(crate) keys: Keyspace,
    pub(crate) names: TargetNames,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) servers: Vec<ServerHandle>,
}

impl Group {
    /// The server of this name, or the first.
    fn server(&self, name: Option<&str>) -> Result<&ServerHandle, reply::Failure> {
        match name {
            None => self.servers.first().ok_or_else(|| reply::not_found("this process runs no server")),
            Some(name) => self.servers.iter().find(|server| server.name == name).ok_or_else(|| {
                let known: Vec<_> = self.servers.iter().map(|server| server.name.as_str()).collect();
                reply::not_found(format!("server '{name}': not here; the servers are {}", known.join(", ")))
            }),
        }
    }
}

/// The routes of the API.
pub(crate) fn router(group: Arc<Group>) -> Router {
    Router::new()
        .route("/v1/version", get(servers::version))
        .route("/v1/health", get(servers::health))
        .route("/v1/servers", get(servers::list))
        .route("/v1/sessions", get(servers::sessions))
        .route("/v1/load", get(load::show))
        .route("/v1/volumes", get(volumes::list).post(volumes::create))
        .route("/v1/volumes/{name}", get(volumes::show).delete(volumes::delete))
        .route("/v1/volumes/{name}/route", get(routes::show))
        .route("/v1/volumes/{name}/verify", get(routes::verify))
        .route("/v1/moves", get(moves::list).post(moves::start))
        .route("/v1/moves/{id}", get(moves::explain))
        .route("/v1/balancing", put(load::enable))
        .fallback(reply::no_such_path)
        .method_not_allowed_fallback(reply::no_such_method)
        .with_state(group)
}
