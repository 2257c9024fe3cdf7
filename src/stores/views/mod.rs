//! Adapters of the coordination store ([`souk_cluster::views::Views`]): the numbered view, one row replaced by
//! compare-and-set.

mod adapter;
#[cfg(test)]
pub mod contract;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod sqlite;
