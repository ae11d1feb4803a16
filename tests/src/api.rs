//! A client of the admin API, for scenarios that ask more often than a process for each question allows.

use evenkeel_api::{ApiError, LoadTable, MoveRequest, MoveRow, MovesTable, RouteTable};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};
use ureq::Agent;

/// A client of one group's API.
#[derive(Clone)]
pub struct Api {
    agent: Agent,
    base: String,
    /// The header that shows the token; empty without one.
    authorization: String,
}

impl Api {
    /// Of the API at `HOST:PORT`, which is shown a token.
    #[must_use]
    pub fn new(address: &str, token: Option<&str>) -> Self {
        let authorization = token.map_or_else(String::new, |token| format!("Bearer {token}"));
        let config = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(30)))
            .http_status_as_error(false)
            .proxy(None);
        Self { agent: config.build().into(), base: format!("http://{address}"), authorization }
    }

    /// `GET path`.
    ///
    /// # Errors
    /// One line: what the API says, or that it does not answer.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let request = self.agent.get(format!("{}{path}", self.base));
        answer(request.header("authorization", &self.authorization).call())
    }

    /// `POST path`.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, String> {
        let body = serde_json::to_vec(body).map_err(|e| e.to_string())?;
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.header("authorization", &self.authorization);
        answer(request.header("content-type", "application/json").send(&body))
    }

    /// `PUT path`.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, String> {
        let body = serde_json::to_vec(body).map_err(|e| e.to_string())?;
        let request = self.agent.put(format!("{}{path}", self.base));
        let request = request.header("authorization", &self.authorization);
        answer(request.header("content-type", "application/json").send(&body))
    }

    /// Orders a move.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn order_move(
        &self,
        volume: &str,
        extent: u32,
        to: &str,
        rate: Option<u64>,
    ) -> Result<MoveRow, String> {
        let request = MoveRequest { volume: volume.to_owned(), extent, to: to.to_owned(), rate };
        self.post("/v1/moves", &request)
    }

    /// Orders a move, and waits until it has begun. What the group refuses may be possible a moment later: it is ordered
    /// again.
    ///
    /// # Panics
    /// If it does not begin within 30 s.
    #[must_use]
    pub fn begin_move(&self, volume: &str, extent: u32, to: &str, rate: Option<u64>) -> MoveRow {
        let (began, now_ms) = (Instant::now(), unix_ms());
        loop {
            let why = match self.order_move(volume, extent, to, rate) {
                Ok(row) => return row,
                Err(why) => why,
            };
            // A slow disk lets the directory take its time: the order stands, and its record may show by now.
            let is_it = |row: &MoveRow| {
                row.volume == volume && row.extent == extent && row.to == to && row.started_ms >= now_ms
            };
            if let Some(row) = self.moves().moves.into_iter().find(is_it) {
                return row;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "extent {extent} to {to}: {why}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The moves and the counters.
    ///
    /// # Panics
    /// If the API does not answer.
    #[must_use]
    pub fn moves(&self) -> MovesTable {
        self.get("/v1/moves").expect("the moves")
    }

    /// The routing table of a volume as a server sees it.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn route(&self, volume: &str, server: &str) -> Result<RouteTable, String> {
        self.get(&format!("/v1/volumes/{volume}/route?server={server}"))
    }

    /// The load of the group as a server sees it.
    ///
    /// # Panics
    /// If the API does not answer.
    #[must_use]
    pub fn load(&self, server: &str) -> LoadTable {
        self.get(&format!("/v1/load?server={server}")).expect("the load")
    }
}

/// The wall clock, as rows of moves have it.
fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_millis()).expect("it is not that long after")
}

fn answer<T: DeserializeOwned>(
    result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<T, String> {
    let mut response = result.map_err(|e| e.to_string())?;
    let body = response.body_mut().with_config().limit(64 << 20).read_to_vec().map_err(|e| e.to_string())?;
    if response.status().as_u16() >= 400 {
        let error = serde_json::from_slice::<ApiError>(&body).map(|error| error.error);
        return Err(error.unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned()));
    }
    serde_json::from_slice(&body).map_err(|e| e.to_string())
}
