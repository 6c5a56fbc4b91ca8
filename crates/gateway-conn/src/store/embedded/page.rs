//! The list of those online: the users behind the cursor in the order of their ids, found in one walk over all shards
//! that keeps no more of them than the page holds and lets others run between shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_codec::UserId;

use super::Shard;
use crate::sharded::Sharded;
use crate::store::{OnlineUser, PAGE_LIMIT, Page, read_cursor, write_cursor};
use crate::{SessionRecord, StoreError};

pub(super) async fn page(
    shards: &Sharded<Shard>,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Page, StoreError> {
    let after = cursor.map(read_cursor).transpose()?;
    let limit = limit.clamp(1, PAGE_LIMIT);
    let mut total = 0_u64;
    let mut found: BTreeMap<UserId, Vec<Arc<SessionRecord>>> = BTreeMap::new();
    for index in 0..Sharded::<Shard>::COUNT {
        {
            let shard = shards.nth(index);
            total += shard.users.len() as u64;
            for sessions in shard.users.iter() {
                let user = &sessions[0].user_id;
                if after.as_ref().is_some_and(|after| user <= after) {
                    continue;
                }
                // One more than the page, to know whether another follows.
                if found.len() > limit && found.last_key_value().is_some_and(|(last, _)| user > last) {
                    continue;
                }
                found.insert(user.clone(), sessions.to_vec());
                if found.len() > limit + 1 {
                    found.pop_last();
                }
            }
        }
        tokio::task::yield_now().await;
    }
    let more = found.len() > limit;
    let users: Vec<_> = found
        .into_iter()
        .take(limit)
        .map(|(user_id, sessions)| OnlineUser { user_id, sessions })
        .collect();
    let next_cursor = users
        .last()
        .filter(|_| more)
        .map(|last| write_cursor(&last.user_id));
    Ok(Page {
        users,
        total,
        next_cursor,
    })
}
