//! Sans-IO engine of a server: routing, ordered writes, fencing and moves.
