//! Leaves that were issued, so that a handshake seldom needs the CA key.

use std::num::NonZeroUsize;
use std::sync::Arc;

use quick_cache::sync::{Cache, EntryAction, EntryResult};
use rustls_pki_types::ServerName;

use super::IssuedLeaf;
use super::error::IssueError;
use super::keys::LeafKeyKind;

/// What a leaf is looked up by. Its name is in canonical form, as [`super::issue`] issues for no other.
type Key = (ServerName<'static>, LeafKeyKind);

/// A bounded cache. Callers that want the same leaf at the same time wait for one of them to issue it.
pub(super) struct LeafCache {
    leaves: Cache<Key, Arc<IssuedLeaf>>,
}

impl LeafCache {
    /// A cache of that many leaves; rounded up a little, as it is cut into equal parts for several threads.
    pub(super) fn new(entries: NonZeroUsize) -> Self {
        Self { leaves: Cache::new(entries.get()) }
    }

    /// How many leaves it holds.
    pub(super) fn len(&self) -> usize {
        self.leaves.len()
    }

    /// The leaf of that name and kind, if `serves` accepts it; else what `issue` returns, which takes its place.
    pub(super) fn get_or_issue(
        &self,
        name: &ServerName<'_>,
        kind: LeafKeyKind,
        serves: impl Fn(&IssuedLeaf) -> bool,
        issue: impl FnOnce() -> Result<IssuedLeaf, IssueError>,
    ) -> Result<Arc<IssuedLeaf>, IssueError> {
        let key = (name.to_owned(), kind);
        // The usual case first, as it needs only a shared lock.
        if let Some(leaf) = self.leaves.get(&key)
            && serves(&leaf)
        {
            return Ok(leaf);
        }
        let decide = |_: &Key, leaf: &mut Arc<IssuedLeaf>| {
            if serves(leaf) { EntryAction::Retain(Arc::clone(leaf)) } else { EntryAction::ReplaceWithGuard }
        };
        match self.leaves.entry(&key, None, decide) {
            EntryResult::Retained(leaf) => Ok(leaf),
            EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => {
                // On an error the guard is dropped, and the next one who waits tries.
                let leaf = Arc::new(issue()?);
                // Refused only if the place was removed meanwhile; the leaf is good nevertheless.
                let _ = guard.insert(Arc::clone(&leaf));
                Ok(leaf)
            }
            // We neither remove nor wait with a limit; should the library do so, the leaf is issued uncached.
            EntryResult::Removed(..) | EntryResult::Timeout => issue().map(Arc::new),
        }
    }
}
