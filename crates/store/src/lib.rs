//! One disk of a server: superblock, units, extent records, journal, checksums and recovery.
