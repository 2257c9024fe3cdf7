//! What follows from events: the relay that delivers them, and one file a consumer.

pub mod badges;
pub mod purchases;
pub mod relay;
