//! Leases of network ports: numbers that ptest gives to one owner at a time.
//!
//! A lease is a row of the store's database. It says that no other caller of this store is given the number, and that nobody
//! else on the machine used it when it was given; it holds no socket, so that its owner can bind it. Not for opening ports to
//! the world, nor for what a network of an environment's own has: there every port is free anyway.

mod acquire;
mod lease;
mod name;
mod probe;
mod range;
pub(crate) mod table;

pub(crate) use self::acquire::{lease_named, release_of_removed};
pub use self::lease::{PortLease, PortOwner, PortProtocol, PortRequest};
pub use self::name::PortName;
pub use self::range::PortRange;
pub(crate) use self::range::Spans;
