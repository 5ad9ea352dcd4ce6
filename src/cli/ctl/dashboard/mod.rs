//! `reseal ctl dashboard`: the dashboard of a process whose admin socket a browser cannot reach, on loopback.

mod guard;
mod relay;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use self::guard::Guard;
use super::client::Admin;
use crate::cli::exit::Exit;
use crate::cli::output::print;

/// From accept to the whole head of the request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections of browsers at a time: a page has one for its events, and a few for a moment.
const CONNECTIONS_MAX: usize = 64;

/// The pause after a failed accept, which happens when descriptors run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the dashboard until it is interrupted.
pub(super) fn serve(admin: Admin, port: u16) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start a runtime: {error}"))?;
    let served = runtime.block_on(async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|error| format!("cannot listen on {address}: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let guard = Guard::new(address)?;
        let url = guard.url();
        if print(&format!("{url}\n")) != Exit::Good {
            return Err("the address cannot be printed".to_owned());
        }
        tokio::select! {
            () = accept(listener, Arc::new(guard), Arc::new(admin)) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        Ok(())
    });
    runtime.shutdown_background();
    served
}

async fn accept(listener: TcpListener, guard: Arc<Guard>, admin: Arc<Admin>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // A semaphore refuses only after it was closed, and this one is never closed.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (guard, admin) = (Arc::clone(&guard), Arc::clone(&admin));
                tokio::spawn(async move {
                    connection(stream, &guard, &admin).await;
                    drop(permit);
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, guard: &Guard, admin: &Admin) {
    let service = service_fn(|request| async move {
        Ok::<_, Infallible>(relay::respond(request, guard, admin).await)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    // An error on it ends this connection alone.
    let _ = connection.await;
}
