//! Sans-IO SCSI logical unit: CDBs, sense data, INQUIRY and VPD pages, mode pages.
