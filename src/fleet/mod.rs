//! A fleet: many instances that get their endpoints and upstreams from one document in etcd.
//!
//! A push writes a generation that never changes, and then moves one pointer. An instance reads both at one
//! revision and offers the document to the control loop, which prepares and commits it as any reload, or
//! refuses it whole. Knows the store, sealing and the cache on disk; not what a document means, nor how it is
//! applied.

pub mod cache;
mod document;
mod etcd;
mod follow;
mod keys;
mod pointer;
mod presence;
mod revocation;
mod seal;
mod settings;
mod state;
mod store;
mod tickets;

pub use self::document::Document;
pub use self::etcd::{Action, Condition, Etcd, EtcdError};
pub use self::follow::{FleetRequest, Follower, Offer};
pub use self::pointer::{Canary, CanaryOf, Pointer};
pub use self::revocation::{REVOCATIONS_MAX, Revocation, Revocations, RevokedBy};
pub use self::seal::{SealKey, SealKeys};
pub use self::settings::{FleetSettings, Login, StoreEndpoint, StoreSettings};
pub use self::state::FleetState;
pub use self::store::{Head, Store, StoreError, new_id};

/// Whether this build has fleets.
pub const IS_BUILT_IN: bool = cfg!(feature = "fleet");
