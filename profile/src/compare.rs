//! How two filters compare: equal, stricter, and what differs.

pub mod difference;
pub mod equality;
pub(crate) mod normal;
mod side_by_side;
pub mod subset;

pub use difference::Difference;
pub use equality::equal;
