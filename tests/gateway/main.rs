//! What stands in front of the shop: the nginx of `deploy/nginx.conf`, and TLS of the nodes' own. Each test has a cluster
//! of its own, some of whose nodes are killed.

#[path = "../support/mod.rs"]
mod support;

mod nginx;
mod once;
mod tls;
