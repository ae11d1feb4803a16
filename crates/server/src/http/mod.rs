//! The admin API: JSON over HTTP under `/v1`, on loopback or with tokens. Any process answers for the whole group.

mod certificates;
mod fetch;
mod guard;
mod leaving;
mod load;
mod moves;
mod others;
mod reply;
mod routes;
mod scope;
mod scrub;
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
pub(crate) use self::volumes::access;

/// What every handler has.
pub(crate) struct Group {
    pub(crate) config: ServeConfig,
    pub(crate) keys: Keyspace,
    pub(crate) names: TargetNames,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) servers: Vec<ServerHandle>,
}

impl Group {
    /// The server of this name, if it is one of this process's; without a name the first.
    fn own_server(&self, name: Option<&str>) -> Result<Option<&ServerHandle>, reply::Failure> {
        match name {
            None => {
                self.servers.first().map(Some).ok_or_else(|| reply::not_found("this process runs no server"))
            }
            Some(name) => Ok(self.servers.iter().find(|server| server.name == name)),
        }
    }
}

/// The routes of the API. With a guard every call has to show a token, also one of a path that there is not.
pub(crate) fn router(group: Arc<Group>, guard: Option<Guard>) -> Router {
    let open = Router::new()
        .route("/v1/version", get(servers::version))
        .route("/v1/health", get(servers::health))
        .route("/v1/servers", get(servers::list))
        .route("/v1/servers/{name}/draining", put(leaving::drain))
        .route("/v1/servers/{name}/remove", post(leaving::remove))
        .route("/v1/servers/{name}/forget", post(leaving::forget))
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
        .route("/v1/scrub", get(scrub::show).put(scrub::start))
        // What processes ask each other: see `scope`.
        .route("/v1/here/health", get(servers::health))
        .route("/v1/here/servers", get(servers::list))
        .route("/v1/here/sessions", get(servers::sessions))
        .route("/v1/here/load", get(load::show))
        .route("/v1/here/used", get(volumes::used))
        .route("/v1/here/reached/{revision}", get(volumes::reached))
        .route("/v1/here/volumes/{name}/route", get(routes::show))
        .route("/v1/here/inventory", get(routes::inventory))
        .route("/v1/here/moves", get(moves::of_here).post(moves::start))
        .route("/v1/here/balancing", put(load::enable))
        .route("/v1/here/scrub", get(scrub::show).put(scrub::start))
        .fallback(reply::no_such_path)
        .method_not_allowed_fallback(reply::no_such_method)
        .with_state(group);
    match guard {
        None => open,
        Some(guard) => open.layer(from_fn_with_state(Arc::new(guard), guard::check)),
    }
}
