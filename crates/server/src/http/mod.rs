//! The admin API: JSON over HTTP under `/v1`, on loopback or with tokens. Any process answers for the whole group.

mod certificates;
mod guard;
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
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use evenkeel_meta::{Directory, Keyspace};
use std::sync::Arc;

pub(crate) use self::guard::Guard;

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

/// The routes of the API. With a guard every call has to show a token, also one of a path that there is not.
pub(crate) fn router(group: Arc<Group>, guard: Option<Guard>) -> Router {
    let open = Router::new()
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
        .route("/v1/join-tokens", post(certificates::create_token))
        .route("/v1/certificates", get(certificates::list))
        .route("/v1/certificates/revoke", post(certificates::revoke))
        .route("/v1/balancing", put(load::enable))
        .fallback(reply::no_such_path)
        .method_not_allowed_fallback(reply::no_such_method)
        .with_state(group);
    match guard {
        None => open,
        Some(guard) => open.layer(from_fn_with_state(Arc::new(guard), guard::check)),
    }
}
