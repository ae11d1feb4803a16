//! An API that gives prepared answers and remembers what it was asked.

use crate::run::{Run, finish, program};
use serde::Serialize;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A prepared answer: status and body.
#[derive(Clone)]
struct Answer(u16, Vec<u8>);

#[derive(Default)]
struct State {
    answers: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<String>>,
    authorizations: Mutex<Vec<String>>,
}

/// The API. Answers are given in order; the last one is given again for ever.
pub(crate) struct FakeApi {
    address: SocketAddr,
    state: Arc<State>,
}

impl FakeApi {
    /// An API without answers.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&shared, stream.unwrap());
            }
        });
        Self { address, state }
    }

    /// An API with one answer for everything.
    pub(crate) fn with(answer: &impl Serialize) -> Self {
        Self::new().then(200, answer)
    }

    /// Adds an answer.
    pub(crate) fn then(self, status: u16, answer: &impl Serialize) -> Self {
        self.then_bytes(status, serde_json::to_vec(answer).unwrap())
    }

    /// Adds an answer that need not be JSON.
    pub(crate) fn then_bytes(self, status: u16, body: impl Into<Vec<u8>>) -> Self {
        self.state.answers.lock().unwrap().push_back(Answer(status, body.into()));
        self
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs the program with these arguments against this API.
    pub(crate) fn run(&self, line: &str) -> Run {
        finish(program().args(["--api", &self.url()]).args(line.split_whitespace()))
    }

    /// What was asked so far: method, path and body of each request.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }

    /// What the requests so far showed to be let in; nothing is an empty text.
    pub(crate) fn authorizations(&self) -> Vec<String> {
        self.state.authorizations.lock().unwrap().clone()
    }
}

/// Answers the requests of a connection until the client closes it.
fn serve(state: &State, mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some((request, authorization)) = read_request(&mut reader) {
        state.authorizations.lock().unwrap().push(authorization);
        state.requests.lock().unwrap().push(request);
        let Answer(status, body) = {
            let mut answers = state.answers.lock().unwrap();
            if answers.len() > 1 { answers.pop_front().unwrap() } else { answers.front().unwrap().clone() }
        };
        let length =
            if status == 204 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let head = format!("HTTP/1.1 {status} Status\r\n{length}content-type: application/json\r\n\r\n");
        stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|len| *len > 0).map(|_| line.trim_end().to_owned())
    };
    let first = line()?;
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let header = line()?;
        let Some((name, value)) = header.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "authorization" => authorization = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let request = first.strip_suffix(" HTTP/1.1").unwrap();
    let request = format!("{request} {}", String::from_utf8(body).unwrap()).trim_end().to_owned();
    Some((request, authorization))
}
