//! Who may come in: caps on the whole process, as permits that are released on drop.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The live state of the caps.
#[derive(Clone, Debug)]
pub struct Admission {
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// A ClientHello, and perhaps a handshake: work that is capped of its own.
    Handshake,
    /// Anything else, which is not looked at.
    Plain,
}

/// The right of one connection to exist.
#[derive(Debug)]
pub struct Permit {
    _connection: OwnedSemaphorePermit,
    handshake: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// Room for so many connections, of which so many may be in their handshake.
    pub fn new(connections: usize, handshakes: usize) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(connections)),
            handshakes: Arc::new(Semaphore::new(handshakes)),
        }
    }

    /// A permit if there is room at once.
    pub fn try_admit(&self, beginning: Beginning) -> Option<Permit> {
        Some(Permit {
            _connection: Arc::clone(&self.connections).try_acquire_owned().ok()?,
            handshake: match beginning {
                Beginning::Handshake => {
                    Some(Arc::clone(&self.handshakes).try_acquire_owned().ok()?)
                }
                Beginning::Plain => None,
            },
        })
    }

    /// Waits for room. Clients meanwhile wait in the kernel's queue.
    pub async fn admit(&self, beginning: Beginning) -> Permit {
        Permit {
            _connection: acquire(&self.connections).await,
            handshake: match beginning {
                Beginning::Handshake => Some(acquire(&self.handshakes).await),
                Beginning::Plain => None,
            },
        }
    }
}

impl Permit {
    /// The client's handshake is over, well or not: there is room for another.
    pub fn handshake_done(&mut self) {
        self.handshake = None;
    }
}

async fn acquire(room: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    match Arc::clone(room).acquire_owned().await {
        Ok(permit) => permit,
        // Only a closed semaphore refuses, and these are never closed.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_permit_is_returned_whatever_becomes_of_its_connection() {
        let admission = Admission::new(1, 1);
        let held = tokio::spawn({
            let permit = admission.admit(Beginning::Handshake).await;
            async move {
                let _permit = permit;
                panic!("a defect in one connection");
            }
        });
        assert!(held.await.is_err());
        drop(admission.admit(Beginning::Handshake).await);
        let mut established = admission.admit(Beginning::Handshake).await;
        established.handshake_done();
        assert_eq!(admission.handshakes.available_permits(), 1);
        assert_eq!(admission.connections.available_permits(), 0);
    }
}
