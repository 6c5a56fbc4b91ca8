//! Clients that send each other numbered messages through whatever happens to the nodes, and what became of the messages.
//!
//! A message whose command was answered 200 is a promise. What its receiver got, live or from the offline box, is noted
//! with its push id; the ledger compares the two.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway_client::{Client, ClientError, Event};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::stack::SECRET;

/// What the crowd is like.
#[derive(Clone, Copy)]
pub struct Habits {
    pub clients: u32,
    /// Between two messages of a client.
    pub pause: Duration,
    /// Send a message again whose connection ended with 1012 before it was answered: it was not carried out.
    pub retry_restarted: bool,
}

#[derive(Default)]
struct Ledger {
    /// By sender and receiver: the numbers answered 200.
    promised: HashMap<(u32, u32), Vec<u64>>,
    /// By sender and receiver: the numbers in the order of their first arrival.
    received: HashMap<(u32, u32), Vec<u64>>,
    push_ids: HashMap<u32, HashSet<String>>,
}

/// What came of it all.
#[derive(Debug, Default)]
pub struct Account {
    pub promised: usize,
    pub received: usize,
    /// Promised and not received.
    pub lost: Vec<(u32, u32, u64)>,
    /// Came again under the same push id: the client drops these.
    pub repeats: u64,
    /// One message under two push ids.
    pub twice: usize,
    /// Came after a later one of the same sender.
    pub overtaken: usize,
    /// Commands that were refused (not 200), by code.
    pub refused: BTreeMap<u16, u64>,
    /// Commands whose answer was lost with the connection.
    pub unanswered: u64,
    /// Commands sent again after a 1012.
    pub retried: u64,
    pub reconnects: u64,
}

struct Shared {
    nodes: Mutex<Vec<SocketAddr>>,
    ledger: Mutex<Ledger>,
    repeats: AtomicU64,
    unanswered: AtomicU64,
    retried: AtomicU64,
    reconnects: AtomicU64,
    refused: Mutex<BTreeMap<u16, u64>>,
    sending: AtomicBool,
    leaving: AtomicBool,
    habits: Habits,
    connected: AtomicU64,
}

/// A running crowd.
pub struct Crowd {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

impl Crowd {
    /// Starts it over these nodes' WebSockets and waits until everybody is bound.
    pub async fn start(nodes: Vec<SocketAddr>, habits: Habits) -> Self {
        let shared = Arc::new(Shared {
            nodes: Mutex::new(nodes),
            ledger: Mutex::default(),
            repeats: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            refused: Mutex::default(),
            sending: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            habits,
            connected: AtomicU64::new(0),
        });
        let mut clients = JoinSet::new();
        for number in 1..=habits.clients {
            clients.spawn(live(shared.clone(), number));
        }
        let crowd = Self { shared, clients };
        while crowd.bound() < u64::from(habits.clients) {
            sleep(Duration::from_millis(20)).await;
        }
        crowd.shared.sending.store(true, Ordering::Relaxed);
        crowd.shared.reconnects.store(0, Ordering::Relaxed);
        crowd
    }

    /// Clients that are bound right now.
    pub fn bound(&self) -> u64 {
        self.shared.connected.load(Ordering::Relaxed)
    }

    /// Connections made since the start.
    pub fn reconnects(&self) -> u64 {
        self.shared.reconnects.load(Ordering::Relaxed)
    }

    /// Other nodes from now on.
    pub fn set_nodes(&self, nodes: Vec<SocketAddr>) {
        *self.shared.nodes.lock().unwrap() = nodes;
    }

    /// Has everybody stop sending, waits until all that was promised has come or `patience` is over, and accounts.
    pub async fn account(mut self, patience: Duration) -> Account {
        self.shared.sending.store(false, Ordering::Relaxed);
        let end = tokio::time::Instant::now() + patience;
        sleep(Duration::from_secs(1)).await;
        let mut account = self.shared.account();
        while !account.lost.is_empty() && tokio::time::Instant::now() < end {
            sleep(Duration::from_millis(200)).await;
            account = self.shared.account();
        }
        self.shared.leaving.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        account
    }
}

impl Shared {
    fn account(&self) -> Account {
        let ledger = self.ledger.lock().unwrap();
        let mut account = Account {
            repeats: self.repeats.load(Ordering::Relaxed),
            unanswered: self.unanswered.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
            reconnects: self.reconnects.load(Ordering::Relaxed),
            refused: self.refused.lock().unwrap().clone(),
            ..Account::default()
        };
        for (pair, numbers) in &ledger.promised {
            account.promised += numbers.len();
            let got: HashSet<u64> = ledger.received.get(pair).into_iter().flatten().copied().collect();
            let lost = numbers.iter().filter(|number| !got.contains(number));
            account.lost.extend(lost.map(|number| (pair.0, pair.1, *number)));
        }
        for numbers in ledger.received.values() {
            account.received += numbers.len();
            let distinct: HashSet<_> = numbers.iter().collect();
            account.twice += numbers.len() - distinct.len();
            account.overtaken += numbers.windows(2).filter(|pair| pair[0] > pair[1]).count();
        }
        account
    }

    fn take(&self, receiver: u32, push: &gateway_client::Push) {
        let mut ledger = self.ledger.lock().unwrap();
        if !ledger
            .push_ids
            .entry(receiver)
            .or_default()
            .insert(push.push_id.clone())
        {
            self.repeats.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut words = push.content.split(' ').map(str::parse::<u64>);
        if let (Some(Ok(sender)), Some(Ok(number))) = (words.next(), words.next()) {
            ledger
                .received
                .entry((sender as u32, receiver))
                .or_default()
                .push(number);
        }
    }
}

/// One client, connected to one node after another.
async fn live(shared: Arc<Shared>, number: u32) {
    let token = token(number);
    let mut next_number = 1;
    let mut failures = 0_u64;
    while !shared.leaving.load(Ordering::Relaxed) {
        let node = {
            let nodes = shared.nodes.lock().unwrap();
            nodes[(u64::from(number) + failures) as usize % nodes.len()]
        };
        let connecting = Client::builder(&format!("ws://{node}/ws"))
            .token(&token)
            .device("d", "web")
            .connect_timeout(Duration::from_secs(2))
            .command_timeout(Duration::from_secs(5))
            .silence(Duration::from_secs(6))
            .connect();
        match connecting.await {
            Ok(client) => {
                shared.connected.fetch_add(1, Ordering::Relaxed);
                shared.reconnects.fetch_add(1, Ordering::Relaxed);
                converse(&shared, number, &client, &mut next_number).await;
                shared.connected.fetch_sub(1, Ordering::Relaxed);
                let ended = client.close().await;
                if let Some(wait) = ended.retry_after {
                    sleep(wait).await;
                }
            }
            Err(_) => sleep(Duration::from_millis(50 + u64::from(number) * 7 % 200)).await,
        }
        failures += 1;
    }
}

/// Sends and takes until the connection ends.
async fn converse(shared: &Shared, number: u32, client: &Client, next_number: &mut u64) {
    let taking = async {
        let mut events = client.events();
        while let Some(event) = events.next().await {
            if let Event::Push(push) = event {
                shared.take(number, &push);
            }
        }
    };
    let sending = async {
        // Not all in one moment.
        sleep(shared.habits.pause.mul_f64(f64::from(number % 16) / 16.0)).await;
        loop {
            if shared.leaving.load(Ordering::Relaxed) {
                return;
            }
            if shared.sending.load(Ordering::Relaxed) && !send(shared, number, client, next_number).await {
                return;
            }
            sleep(shared.habits.pause).await;
        }
    };
    tokio::select! {
        () = taking => {}
        () = sending => {
            // What is on its way must not be cut off.
            let _ = timeout(Duration::from_millis(500), client.closed()).await;
        }
    }
}

/// Sends one message; false where the connection has ended.
async fn send(shared: &Shared, number: u32, client: &Client, next_number: &mut u64) -> bool {
    // Anybody but oneself.
    let step = *next_number as u32 * 17 % (shared.habits.clients - 1) + 1;
    let receiver = (number - 1 + step) % shared.habits.clients + 1;
    let content = format!("{number} {next_number}");
    let data = json!({"to_user": format!("user{receiver}"), "content": content});
    match client.command(2001, data).await {
        Ok(reply) => {
            if reply.code == 200 {
                let mut ledger = shared.ledger.lock().unwrap();
                ledger
                    .promised
                    .entry((number, receiver))
                    .or_default()
                    .push(*next_number);
            } else {
                *shared.refused.lock().unwrap().entry(reply.code).or_default() += 1;
            }
            *next_number += 1;
            true
        }
        Err(ClientError::Closed(ended)) if shared.habits.retry_restarted && ended.code == Some(1012) => {
            // The same number again on the next connection.
            shared.retried.fetch_add(1, Ordering::Relaxed);
            false
        }
        Err(_) => {
            shared.unanswered.fetch_add(1, Ordering::Relaxed);
            *next_number += 1;
            client.end().is_none()
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
