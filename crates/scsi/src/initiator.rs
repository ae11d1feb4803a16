//! The initiator's side: CDBs, and what is answered to them.
