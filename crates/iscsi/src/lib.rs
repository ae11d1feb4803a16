//! Sans-IO iSCSI (RFC 7143): PDUs, text keys, login, sessions and tasks, target and initiator side.
