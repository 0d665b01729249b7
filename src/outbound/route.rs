//! From a next hop to the servers that may take its mail.
