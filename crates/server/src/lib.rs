//! The daemon: sockets, disk rings, timers, configuration and the admin API. The only crate with tokio.
