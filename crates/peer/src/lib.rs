//! Sans-IO frames and messages between servers.
