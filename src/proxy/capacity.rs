//! How many sessions there may be, in all and for one client.

use super::error::SessionError;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts sessions. A connection counts from the moment it is accepted, whether it has asked for anything or not.
#[derive(Debug)]
pub(super) struct Capacity {
    all: Arc<Semaphore>,
    limit: usize,
    limit_per_client: usize,
    clients: Mutex<HashMap<IpAddr, usize>>,
}

/// A place taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    capacity: Arc<Capacity>,
    client: IpAddr,
    _permit: OwnedSemaphorePermit,
}

/// Room for a connection whose client is not known yet.
#[derive(Debug)]
pub(super) struct Room {
    capacity: Arc<Capacity>,
    permit: OwnedSemaphorePermit,
}

impl Capacity {
    pub(super) fn new(limit: usize, limit_per_client: usize) -> Arc<Self> {
        let all = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { all, limit, limit_per_client, clients: Mutex::new(HashMap::new()) })
    }

    /// Takes room for a connection.
    pub(super) fn room(self: &Arc<Self>) -> Result<Room, SessionError> {
        match Arc::clone(&self.all).try_acquire_owned() {
            Ok(permit) => Ok(Room { capacity: Arc::clone(self), permit }),
            Err(_) => Err(SessionError::Overload { limit: self.limit, whose: "", key: "sessions" }),
        }
    }

    /// Takes a place for a client.
    pub(super) fn take(self: &Arc<Self>, client: IpAddr) -> Result<Place, SessionError> {
        self.room()?.of(client)
    }

    pub(super) fn taken(&self) -> usize {
        self.limit.min(Semaphore::MAX_PERMITS) - self.all.available_permits()
    }
}

impl Room {
    /// The place of this client.
    pub(super) fn of(self, client: IpAddr) -> Result<Place, SessionError> {
        let Self { capacity, permit } = self;
        let client = client.to_canonical();
        let mut clients = capacity.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = clients.entry(client).or_insert(0);
        if *taken >= capacity.limit_per_client {
            let limit = capacity.limit_per_client;
            return Err(SessionError::Overload { limit, whose: " for this client", key: "sessions_per_client" });
        }
        *taken += 1;
        drop(clients);
        Ok(Place { capacity, client, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.capacity.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = clients.get_mut(&self.client) {
            *taken -= 1;
            if *taken == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_exact_and_places_come_back() {
        let capacity = Capacity::new(3, 2);
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let first = capacity.take(a).unwrap();
        let second = capacity.take(mapped).unwrap();
        assert!(matches!(capacity.take(a), Err(SessionError::Overload { key: "sessions_per_client", .. })));
        let third = capacity.take(b).unwrap();
        assert_eq!(capacity.taken(), 3);
        assert!(matches!(capacity.take(b), Err(SessionError::Overload { key: "sessions", limit: 3, .. })));
        drop(first);
        assert!(capacity.take(a).is_ok());
        drop((second, third));
        assert_eq!(capacity.taken(), 0);
        assert!(capacity.clients.lock().unwrap().is_empty());
    }
}
