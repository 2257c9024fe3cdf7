//! Proxies and TLS in front of the shop: nginx with `deploy/nginx.conf`, and the nodes' own TLS. Each test has a cluster of
//! its own.

#[path = "../support/mod.rs"]
mod support;

mod nginx;
mod once;
mod tls;
