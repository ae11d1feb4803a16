//! Types of the admin API, shared by server and command line.
