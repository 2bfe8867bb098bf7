//! Proves the support itself: a client that talks directly to an origin, and chains that webpki judges.
