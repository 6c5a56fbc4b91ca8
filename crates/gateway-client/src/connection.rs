//! One connection's life: a reader that nothing interrupts, a writer that gathers, a watch over silence, and the
//! commands that wait for their replies.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gateway_codec::Encoding;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::acknowledge::Acknowledge;
use crate::event::{Event, EventQueue, Notice};
use crate::transport::{Outgoing, Reader, Received, Writer};
use crate::wire::{self, Command, Data, Device, Incoming, Reply};
use crate::{ClientError, Ended};

/// Most messages written in one call.
const BATCH: usize = 128;
/// How long the closing handshake may take, each way.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What the handles of a connection and its task share.
pub(crate) struct Link {
    encoding: Encoding,
    device: Device,
    outgoing: mpsc::Sender<Outgoing>,
    waiting: Mutex<Waiting>,
    events: Arc<EventQueue>,
    finishes_events: bool,
    welcome: watch::Sender<Option<Notice>>,
    ended: watch::Sender<Option<Ended>>,
    /// Set by the notice `draining`, in milliseconds; 0 is none.
    retry_after_ms: AtomicU64,
    pub(crate) stop: CancellationToken,
}

/// Commands without a reply yet, by `seq`.
struct Waiting {
    last_seq: u32,
    limit: usize,
    replies: HashMap<u32, oneshot::Sender<Reply>>,
    over: bool,
}

/// Settings of a connection that the builder knows.
pub(crate) struct Bounds {
    pub(crate) in_flight: usize,
    pub(crate) outgoing: usize,
    pub(crate) silence: Duration,
    /// Whether no other connection will feed the same events.
    pub(crate) finishes_events: bool,
}

impl Link {
    /// Starts the connection's task; the handle is for whoever wants to wait for its end.
    pub(crate) fn start(
        (reader, writer): (Reader, Writer),
        encoding: Encoding,
        device: Device,
        events: Arc<EventQueue>,
        bounds: &Bounds,
    ) -> Arc<Self> {
        let (outgoing, queue) = mpsc::channel(bounds.outgoing);
        let replies = HashMap::new();
        let link = Arc::new(Self {
            encoding,
            device,
            outgoing,
            waiting: Mutex::new(Waiting {
                last_seq: 0,
                limit: bounds.in_flight,
                replies,
                over: false,
            }),
            events,
            finishes_events: bounds.finishes_events,
            welcome: watch::Sender::new(None),
            ended: watch::Sender::new(None),
            retry_after_ms: AtomicU64::new(0),
            stop: CancellationToken::new(),
        });
        // Waited for through `ended`, and ended by `stop` when the last handle is gone.
        tokio::spawn(run(Arc::clone(&link), reader, writer, queue, bounds.silence));
        link
    }

    /// Takes a place in the order of sending now, or fails at once.
    pub(crate) fn submit(
        &self,
        command: &Command<'_>,
    ) -> Result<(u32, oneshot::Receiver<Reply>), ClientError> {
        let permit = self.outgoing.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => ClientError::QueueFull,
            mpsc::error::TrySendError::Closed(()) => ClientError::Closed(self.end_or_lost()),
        })?;
        self.enqueue(command, permit)
    }

    /// As [`Link::submit`], but waits for room.
    pub(crate) async fn submit_waiting(
        &self,
        command: &Command<'_>,
    ) -> Result<(u32, oneshot::Receiver<Reply>), ClientError> {
        let permit = self
            .outgoing
            .reserve()
            .await
            .map_err(|_| ClientError::Closed(self.end_or_lost()))?;
        self.enqueue(command, permit)
    }

    fn enqueue(
        &self,
        command: &Command<'_>,
        permit: mpsc::Permit<'_, Outgoing>,
    ) -> Result<(u32, oneshot::Receiver<Reply>), ClientError> {
        // Under one lock from number to queue, so that numbers go up in the order of sending.
        let mut waiting = self.waiting();
        if waiting.over {
            return Err(ClientError::Closed(self.end_or_lost()));
        }
        if waiting.replies.len() >= waiting.limit {
            return Err(ClientError::TooManyInFlight);
        }
        let seq = waiting.next_seq();
        let message = wire::encode(self.encoding, command, seq, &self.device)?;
        let (reply, receiver) = oneshot::channel();
        waiting.replies.insert(seq, reply);
        permit.send(message);
        Ok((seq, receiver))
    }

    /// A message that has no reply.
    pub(crate) fn send_unanswered(&self, cmd_id: u32, data: &RawValue) -> Result<(), ClientError> {
        let permit = self.outgoing.try_reserve().map_err(|_| ClientError::QueueFull)?;
        let command = Command {
            cmd_id,
            data: Data::Json(data),
        };
        // Numbered, so that an error reply to it is not taken for another command's.
        let mut waiting = self.waiting();
        let seq = waiting.next_seq();
        permit.send(wire::encode(self.encoding, &command, seq, &self.device)?);
        Ok(())
    }

    /// Nobody waits for this reply any more.
    pub(crate) fn forget(&self, seq: u32) {
        self.waiting().replies.remove(&seq);
    }

    /// Asks for the closing handshake; [`Link::ended`] tells when it is done.
    pub(crate) async fn close(&self, code: u16, reason: String) {
        // Where the writer has gone the end is told already.
        let _ = self.outgoing.send(Outgoing::Close { code, reason }).await;
    }

    /// How it ended; `None` while it has not.
    pub(crate) fn end(&self) -> Option<Ended> {
        self.ended.borrow().clone()
    }

    pub(crate) fn end_or_lost(&self) -> Ended {
        self.end().unwrap_or_else(|| Ended::lost("ending"))
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> Ended {
        let mut ended = self.ended.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or_else(|| Ended::lost("ended")),
            Err(_) => Ended::lost("ended"),
        }
    }

    /// Waits for the first notice that says `welcome`, or for the end.
    pub(crate) async fn welcome(&self) -> Result<Notice, ClientError> {
        let mut welcome = self.welcome.subscribe();
        let welcomed = async {
            match welcome.wait_for(Option::is_some).await {
                Ok(notice) => notice.clone(),
                Err(_) => None,
            }
        };
        tokio::select! {
            biased;
            notice = welcomed => notice.ok_or(ClientError::Protocol("no welcome")),
            ended = self.ended() => Err(ClientError::Closed(ended)),
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in(self: &Arc<Self>, incoming: Incoming) {
        match incoming {
            Incoming::Reply(reply) => {
                let waiting = self.waiting().replies.remove(&reply.seq);
                match waiting {
                    // Whoever asked may have given up in this moment.
                    Some(waiting) => drop(waiting.send(reply)),
                    None => tracing::debug!(
                        cmd_id = reply.cmd_id,
                        seq = reply.seq,
                        "a reply that nobody waits for"
                    ),
                }
            }
            Incoming::Push(push) => {
                let acknowledge = Acknowledge::new(Arc::clone(self), push.push_id.clone());
                self.events.offer_push(push, acknowledge);
            }
            Incoming::Notice(notice) => {
                if notice.event == "welcome" {
                    self.welcome.send_replace(Some(notice.clone()));
                }
                if notice.event == "draining" {
                    let wait = notice.data["retry_after_ms"].as_u64().unwrap_or_default();
                    self.retry_after_ms.store(wait, Ordering::Relaxed);
                }
                self.events.offer(Event::Notice(notice));
            }
        }
    }

    fn finish(&self, ended: Ended) {
        let abandoned = {
            let mut waiting = self.waiting();
            waiting.over = true;
            std::mem::take(&mut waiting.replies)
        };
        // The end first: whoever finds its command abandoned asks for it.
        self.ended.send_replace(Some(ended));
        drop(abandoned);
        if self.finishes_events {
            self.events.finish();
        }
    }
}

impl Waiting {
    /// Never 0, which means "no request", and never one that is still waited for.
    fn next_seq(&mut self) -> u32 {
        loop {
            self.last_seq = self.last_seq.wrapping_add(1);
            if self.last_seq != 0 && !self.replies.contains_key(&self.last_seq) {
                return self.last_seq;
            }
        }
    }
}

/// The connection's one task. Whichever of its parts ends first ends it all, so that a read that is dropped here is
/// never taken up again.
async fn run(
    link: Arc<Link>,
    reader: Reader,
    writer: Writer,
    queue: mpsc::Receiver<Outgoing>,
    silence: Duration,
) {
    let heard = Mutex::new(Instant::now());
    let mut reading = pin!(read_all(&link, reader, &heard));
    let mut writing = pin!(write_all(writer, queue));
    let ended = tokio::select! {
        ended = &mut reading => {
            if ended.code.is_some() {
                // The answer to the gateway's Close is in the queue.
                let _ = timeout(CLOSE_WITHIN, &mut writing).await;
            }
            ended
        }
        written = &mut writing => {
            // Our Close is out, or the peer is gone; its own Close may still be unread, and says more.
            let ended = timeout(CLOSE_WITHIN, &mut reading).await.ok();
            match written {
                Ok(()) => Ended { by_us: true, ..ended.unwrap_or_else(Ended::by_us) },
                Err(error) => ended.unwrap_or_else(|| Ended::lost(error.to_string())),
            }
        }
        () = silent(&heard, silence) => Ended::lost("nothing heard from the gateway"),
        () = link.stop.cancelled() => Ended::by_us(),
    };
    link.finish(ended);
}

async fn read_all(link: &Arc<Link>, mut reader: Reader, heard: &Mutex<Instant>) -> Ended {
    loop {
        let received = reader.next().await;
        *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let incoming = match received {
            Ok(Received::Text(text)) => wire::decode_text(&text),
            Ok(Received::Binary(bytes)) => wire::decode_binary(&bytes),
            Ok(Received::Ping(payload)) => {
                // Waits for room: a peer that pings faster than it reads is slowed down by this.
                let _ = link.outgoing.send(Outgoing::Pong(payload)).await;
                continue;
            }
            Ok(Received::Pong) => continue,
            Ok(Received::Close { code, reason }) => {
                link.close(code, String::new()).await;
                let wait = link.retry_after_ms.load(Ordering::Relaxed);
                return wire::ended(code, reason, (wait > 0).then(|| Duration::from_millis(wait)));
            }
            Err(error) => return Ended::lost(error.to_string()),
        };
        match incoming {
            Ok(incoming) => link.take_in(incoming),
            Err(error) => tracing::warn!(%error, "a message of the gateway's was skipped"),
        }
    }
}

async fn write_all(mut writer: Writer, mut queue: mpsc::Receiver<Outgoing>) -> std::io::Result<()> {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        if writer.write(&mut batch).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Returns when nothing has been heard for that long.
async fn silent(heard: &Mutex<Instant>, limit: Duration) {
    let mut look = interval((limit / 4).max(Duration::from_millis(10)));
    loop {
        look.tick().await;
        if heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > limit {
            return;
        }
    }
}
