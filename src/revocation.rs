//! CRLs: from configured files, cached, found by issuer. (Distribution points and OCSP join here.)
