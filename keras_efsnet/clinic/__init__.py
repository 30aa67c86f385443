"""Results as DICOM objects, for clinical systems (extra `[clinic]`)."""
