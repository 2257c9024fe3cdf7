//! Adapters of the coordination store ([`souk_cluster::views::Views`]): the numbered view, one row replaced by
//! compare-and-set.

#[cfg(test)]
pub mod contract;
pub mod sqlite;
