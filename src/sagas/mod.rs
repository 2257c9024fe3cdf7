//! Work across entities that must end: the checkout, and the sweeper that finds what is overdue.

pub mod checkout;
pub mod sweeper;
