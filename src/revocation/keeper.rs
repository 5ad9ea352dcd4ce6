//! The task of one source: it fetches before what is there ends, and keeps what may be used.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::USER_AGENT;
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::source::{Reach, Source, Wanted};
use super::status::Statuses;
use super::{lists, staples};
use crate::fetch::{Bounds, Fetcher};
use crate::observe::escape;
use crate::observe::format::unix_timestamp;
use crate::state;
use crate::tls::{https, unix_now};
use crate::upstream::Lookup;

/// The pause after the first failure, and the bound of its doubling.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// The least pause while a server has nothing newer than what is about to end.
const STALE_PAUSE: Duration = Duration::from_secs(60);

/// Keeps what one source brings.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) source: Arc<Source>,
    pub(super) lookup: Lookup,
    pub(super) statuses: Arc<Statuses>,
    /// Told when the file has another content.
    pub(super) changed: mpsc::Sender<()>,
}

/// What was fetched.
struct Fetched {
    is_new: bool,
    /// When it is to be fetched again, in seconds of unix time, if it says.
    due: Option<i64>,
}

impl Keeper {
    /// Fetches until it is aborted.
    pub(super) async fn run(self) {
        let mut retry = RETRY_MIN;
        loop {
            let fetched = self.fetch().await;
            let now = unix_now();
            let pause = match &fetched {
                Ok(fetched) => {
                    retry = RETRY_MIN;
                    pause(self.source.every, fetched.due, now)
                }
                Err(_) => {
                    let pause = retry.min(self.source.every);
                    retry = (retry * 2).min(RETRY_MAX);
                    pause
                }
            };
            self.tell(fetched, now, pause);
            sleep(pause).await;
        }
    }

    async fn fetch(&self) -> Result<Fetched, String> {
        let bytes = get(&self.source, &self.lookup).await?;
        let source = Arc::clone(&self.source);
        let kept = tokio::task::spawn_blocking(move || keep(&source, &bytes));
        kept.await.map_err(|error| error.to_string())?
    }

    fn tell(&self, fetched: Result<Fetched, String>, now: i64, pause: Duration) {
        let next = now.saturating_add(i64::try_from(pause.as_secs()).unwrap_or(i64::MAX));
        let mut before = None;
        self.statuses.update(&self.source.file, |status| {
            status.next = Some(next);
            before = status.last_error.take().map(|(why, _)| why);
            match &fetched {
                Ok(_) => {
                    status.fetched = Some(now);
                    status.successes += 1;
                }
                Err(why) => {
                    status.last_error = Some((why.clone(), now));
                    status.failures += 1;
                }
            }
        });
        let (kind, url) = (self.source.wanted.word(), escape::text(&self.source.url));
        match fetched {
            Ok(fetched) => {
                if fetched.is_new {
                    info!(kind, url, "fetched: it is used from now on");
                    // A full channel holds a notice already.
                    let _ = self.changed.try_send(());
                } else if before.is_some() {
                    info!(kind, url, "it can be fetched again");
                }
            }
            Err(why) if before.as_ref() == Some(&why) => {
                debug!(kind, url, why, "not fetched");
            }
            Err(why) => {
                let next = unix_timestamp(next);
                warn!(
                    kind,
                    url, why, next, "not fetched: what was there before stays in use"
                );
            }
        }
    }
}

/// Fetches once, and judges what comes without keeping it.
///
/// # Errors
///
/// One sentence, if nothing comes that could be used.
pub async fn probe(source: &Source, lookup: &Lookup) -> Result<(), String> {
    let bytes = get(source, lookup).await?;
    judge(source, &bytes, None).map(|_| ())
}

/// What the server of a source answers.
async fn get(source: &Source, lookup: &Lookup) -> Result<Bytes, String> {
    let (request, body, most) = match &source.wanted {
        Wanted::Lists(_) => (
            lists::request(&source.url),
            Full::<Bytes>::default(),
            lists::BYTES_MAX,
        ),
        Wanted::Staple(staple) => {
            let body = Full::from(staples::body(staple)?);
            (staples::request(&source.url), body, staples::BYTES_MAX)
        }
    };
    let request = request.header(USER_AGENT, concat!("reseal/", env!("CARGO_PKG_VERSION")));
    let request = request.body(body).map_err(|error| error.to_string())?;
    let response = fetcher(source, lookup)?.fetch(request, bounds(most)).await;
    let response = response.map_err(|error| escape::own(&error.to_string()))?;
    accepted(response)
}

/// What a fetch may cost. The largest list comes in time over 3 Mbit/s.
const fn bounds(bytes: usize) -> Bounds {
    Bounds {
        time: Duration::from_secs(60),
        bytes,
    }
}

fn fetcher(source: &Source, lookup: &Lookup) -> Result<Fetcher, String> {
    let tls = match source.url.starts_with("https:") {
        true => {
            let servers = match &source.wanted {
                Wanted::Lists(lists) => lists.servers(),
                Wanted::Staple(_) => https::public(),
            };
            Some(https::client(&servers).map_err(|error| error.to_string())?)
        }
        false => None,
    };
    let fetcher = Fetcher::new(tls, lookup.clone());
    Ok(match source.reach {
        Reach::Any => fetcher,
        Reach::Public => fetcher.only_public(),
    })
}

/// The body of a response that reports no error.
fn accepted(response: Response<Bytes>) -> Result<Bytes, String> {
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        status if status.is_redirection() => {
            Err("the server redirects to another URL, which is not followed".to_owned())
        }
        status => Err(format!("the server answers {}", status.as_u16())),
    }
}

/// Judges what has come, and writes it to the file if it is something else.
fn keep(source: &Source, bytes: &[u8]) -> Result<Fetched, String> {
    let place = source.file.display();
    let cannot = |error: io::Error| format!("{place}: {error}");
    state::prepare(source.state()).map_err(cannot)?;
    let Some(_lock) = state::lock(&source.file).map_err(cannot)? else {
        return Err(format!("{place}: another process writes it"));
    };
    // What cannot be read is replaced.
    let before = state::read(&source.file, lists::BYTES_MAX).ok().flatten();
    let before = before.as_ref().map(|before| before.as_slice());
    let due = judge(source, bytes, before)?;
    let is_new = before != Some(bytes);
    if is_new {
        state::write(&source.file, bytes).map_err(cannot)?;
    }
    Ok(Fetched { is_new, due })
}

/// Whether what has come may replace what was there before. Returns when it is to be fetched again, in
/// seconds of unix time, if it says.
fn judge(source: &Source, bytes: &[u8], before: Option<&[u8]>) -> Result<Option<i64>, String> {
    let now = unix_now();
    match &source.wanted {
        Wanted::Lists(wanted) => lists::judge(wanted, &source.url, bytes, before, now),
        Wanted::Staple(staple) => staples::judge(staple, bytes, before, now).map(Some),
    }
}

/// The pause until the next fetch.
fn pause(every: Duration, due: Option<i64>, now: i64) -> Duration {
    let Some(due) = due else { return every };
    match u64::try_from(due.saturating_sub(now)) {
        Ok(left @ 1..) => Duration::from_secs(left).min(every),
        _ => STALE_PAUSE.min(every),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fetched_before_it_ends_and_no_server_is_flooded() {
        let hour = Duration::from_secs(3600);
        assert_eq!(pause(hour, None, 0), hour);
        assert_eq!(pause(hour, Some(100_000), 0), hour);
        assert_eq!(pause(hour, Some(60), 0), Duration::from_secs(60));
        assert_eq!(pause(hour, Some(-5), 0), STALE_PAUSE);
        let second = Duration::from_secs(1);
        assert_eq!(pause(second, Some(-5), 0), second);
    }
}
