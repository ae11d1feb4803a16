//! Deterministic simulator: clock, network, disks, clients and checkers under one seed.
