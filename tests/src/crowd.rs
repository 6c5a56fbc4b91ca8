//! Clients that send each other numbered messages through whatever happens to the nodes, and what became of the messages.
//!
//! They are gateway-client's persistent connections: coming back, sending again what may be sent again, going on after
//! the last push and dropping what comes twice is its work and not the crowd's. A message whose command was answered 200
//! is a promise. What its receiver got, live, by resume or from the offline box, is noted with its push id; the [`ledger`]
//! compares the two.

mod ledger;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway_client::{Client, ClientError, Event, Persistent, ReconnectPolicy};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

pub use self::ledger::Account;
use self::ledger::Ledger;
use crate::stack::SECRET;

/// Clients that connect for the first time at once.
const ARRIVING: usize = 64;
/// Receivers of one sender: few, so that each has many messages whose order can be seen.
const RECEIVERS: u64 = 4;
/// Files of a client in this process: its socket, and two of a balancer's.
const FILES: u64 = 3;
const OTHER_FILES: u64 = 500;

/// What the crowd is like.
#[derive(Clone, Copy)]
pub struct Habits {
    pub clients: u32,
    /// Between two messages of a client.
    pub pause: Duration,
    /// After how long without a word from the gateway a client comes back on another connection.
    pub silence: Duration,
    pub policy: ReconnectPolicy,
}

struct Shared {
    url: String,
    habits: Habits,
    arriving: Semaphore,
    arrived: AtomicU64,
    sending: AtomicBool,
    leaving: AtomicBool,
    ledger: Mutex<Ledger>,
    reconnects: AtomicU64,
    repeats: AtomicU64,
    carried_over: AtomicU64,
    refused: Mutex<BTreeMap<u16, u64>>,
    unanswered: Mutex<BTreeMap<String, u64>>,
    given_up: Mutex<BTreeMap<String, u64>>,
}

/// A running crowd.
pub struct Crowd {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

impl Crowd {
    /// Starts it at this address and waits until everybody is bound.
    pub async fn start(address: SocketAddr, habits: Habits) -> Self {
        let files = u64::from(habits.clients) * FILES + OTHER_FILES;
        let may = rlimit::increase_nofile_limit(files).unwrap();
        assert!(
            may >= files,
            "this process may open {may} files, and needs {files}"
        );
        let shared = Arc::new(Shared {
            url: format!("ws://{address}/ws"),
            habits,
            arriving: Semaphore::new(ARRIVING),
            arrived: AtomicU64::new(0),
            sending: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            ledger: Mutex::default(),
            reconnects: AtomicU64::new(0),
            repeats: AtomicU64::new(0),
            carried_over: AtomicU64::new(0),
            refused: Mutex::default(),
            unanswered: Mutex::default(),
            given_up: Mutex::default(),
        });
        let mut clients = JoinSet::new();
        for number in 1..=habits.clients {
            clients.spawn(live(shared.clone(), number));
        }
        while shared.arrived.load(Ordering::Relaxed) < u64::from(habits.clients) {
            sleep(Duration::from_millis(20)).await;
        }
        shared.sending.store(true, Ordering::Relaxed);
        Self { shared, clients }
    }

    /// Clients that have come back so far.
    pub fn reconnects(&self) -> u64 {
        self.shared.reconnects.load(Ordering::Relaxed)
    }

    /// Has everybody stop sending, waits until all that was promised has come or `patience` is over, and accounts.
    pub async fn account(mut self, patience: Duration) -> Account {
        self.shared.sending.store(false, Ordering::Relaxed);
        let end = Instant::now() + patience;
        sleep(Duration::from_secs(1)).await;
        while !self.shared.ledger.lock().unwrap().account().lost.is_empty() && Instant::now() < end {
            sleep(Duration::from_millis(200)).await;
        }
        self.shared.leaving.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        self.shared.account()
    }
}

impl Shared {
    fn account(&self) -> Account {
        Account {
            repeats: self.repeats.load(Ordering::Relaxed),
            carried_over: self.carried_over.load(Ordering::Relaxed),
            refused: self.refused.lock().unwrap().clone(),
            unanswered: self.unanswered.lock().unwrap().clone(),
            given_up: self.given_up.lock().unwrap().clone(),
            reconnects: self.reconnects.load(Ordering::Relaxed),
            ..self.ledger.lock().unwrap().account()
        }
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }
}

/// One client, from its first connection to the end of the crowd.
async fn live(shared: Arc<Shared>, number: u32) {
    let client = arrive(&shared, number).await;
    let returns = AtomicU64::new(0);
    let taking = async {
        let mut events = client.events();
        while let Some(event) = events.next().await {
            match event {
                Event::Push(push) => shared.ledger.lock().unwrap().take(number, &push),
                Event::Returned => {
                    returns.fetch_add(1, Ordering::Relaxed);
                    shared.reconnects.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
        }
        let ended = client.closed().await;
        let why = format!("{:?} {}", ended.code, ended.reason);
        *shared.given_up.lock().unwrap().entry(why).or_default() += 1;
    };
    let sending = async {
        // Not all in one moment.
        sleep(shared.habits.pause.mul_f64(f64::from(number % 997) / 997.0)).await;
        let mut next_number = 1;
        while !shared.is_leaving() {
            if shared.sending.load(Ordering::Relaxed) {
                send(&shared, number, &client, next_number, &returns).await;
                next_number += 1;
            }
            until_next(&shared).await;
        }
    };
    tokio::select! {
        () = taking => {}
        () = sending => {}
    }
    shared
        .repeats
        .fetch_add(client.events().duplicates(), Ordering::Relaxed);
    client.close().await;
}

async fn arrive(shared: &Shared, number: u32) -> Persistent {
    let token = token(number);
    loop {
        let builder = Client::builder(&shared.url)
            .token(&token)
            .device("d", "web")
            .connect_timeout(Duration::from_secs(5))
            .command_timeout(Duration::from_secs(5))
            .silence(shared.habits.silence);
        let _permit = shared.arriving.acquire().await.unwrap();
        if let Ok(client) = Persistent::connect(builder, shared.habits.policy).await {
            shared.arrived.fetch_add(1, Ordering::Relaxed);
            return client;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Waits for the pause, less long where the crowd leaves.
async fn until_next(shared: &Shared) {
    let end = Instant::now() + shared.habits.pause;
    while Instant::now() < end && !shared.is_leaving() {
        sleep(Duration::from_millis(500).min(end - Instant::now())).await;
    }
}

/// Sends one message, and goes on when nothing more will be known of it.
async fn send(shared: &Shared, number: u32, client: &Persistent, message: u64, returns: &AtomicU64) {
    // Anybody but oneself.
    let step = (message % RECEIVERS * 17 + 1) as u32 % (shared.habits.clients - 1) + 1;
    let receiver = (number - 1 + step) % shared.habits.clients + 1;
    let data = json!({"to_user": format!("user{receiver}"), "content": format!("{number} {message}")});
    let before = returns.load(Ordering::Relaxed);
    match client.command(2001, data).await {
        Ok(reply) => {
            if reply.code == 200 {
                shared.ledger.lock().unwrap().promise(number, receiver, message);
            } else {
                *shared.refused.lock().unwrap().entry(reply.code).or_default() += 1;
            }
            if returns.load(Ordering::Relaxed) != before {
                shared.carried_over.fetch_add(1, Ordering::Relaxed);
            }
        }
        Err(error) => {
            let why = match error {
                ClientError::Closed(ended) => format!("closed {:?}", ended.code),
                other => other.to_string(),
            };
            *shared.unanswered.lock().unwrap().entry(why).or_default() += 1;
        }
    }
}

fn token(number: u32) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let user = format!("user{number}");
    let claims: Value = json!({
        "iss": "mychat-gateway", "aud": "mychat-client", "sub": user, "jti": format!("{user}-{now}"), "iat": now,
        "exp": now + 3_600, "username": user, "device_id": "d", "platform": "web", "type": "access", "roles": [],
    });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}
