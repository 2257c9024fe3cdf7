//! The auditor before shops that are in order, under way, or tampered with.

mod in_flight;
mod shop;
mod violations;
