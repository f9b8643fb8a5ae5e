//! Maps requests to handlers.

use super::{Response, text};
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use std::fmt;

/// How much of a body that nobody wants is read.
const DISCARDED: usize = 16 << 20;

type Handler = Box<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response> + Send + Sync>;

struct Route {
    method: Method,
    path: &'static str,
    handler: Handler,
}

/// The table of routes, by exact path.
#[derive(Default)]
pub struct Routes(Vec<Route>);

impl fmt::Debug for Routes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self.0.iter().map(|route| (&route.method, route.path));
        formatter.debug_list().entries(routes).finish()
    }
}

impl Routes {
    /// Adds a route for GET and HEAD.
    #[must_use]
    pub fn get(
        mut self,
        path: &'static str,
        handler: impl Fn() -> Response + Send + Sync + 'static,
    ) -> Routes {
        self.0.push(Route {
            method: Method::GET,
            path,
            handler: Box::new(move |_| futures::future::ready(handler()).boxed()),
        });
        self
    }

    /// Adds a route for POST.
    #[must_use]
    pub fn post(
        mut self,
        path: &'static str,
        handler: impl Fn(Request<Incoming>) -> BoxFuture<'static, Response> + Send + Sync + 'static,
    ) -> Routes {
        self.0.push(Route {
            method: Method::POST,
            path,
            handler: Box::new(handler),
        });
        self
    }

    /// The answer to a request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response {
        let path = request.uri().path().to_owned();
        let method = match *request.method() {
            Method::HEAD => Method::GET,
            ref method => method.clone(),
        };
        let mut allowed = Vec::new();
        for route in self.0.iter().filter(|route| route.path == path) {
            if route.method == method {
                return (route.handler)(request).await;
            }
            allowed.push(route.method.as_str());
            if route.method == Method::GET {
                allowed.push(Method::HEAD.as_str());
            }
        }
        discard(request.into_body()).await;
        if allowed.is_empty() {
            return text(StatusCode::NOT_FOUND, "not found\n");
        }
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
        if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", ")) {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        response
    }
}

/// Reads what a client sends and keeps nothing of it, up to a limit: one that is still sending when the
/// connection is closed sees a reset instead of the answer.
pub async fn discard(body: Incoming) {
    let mut body = Limited::new(body, DISCARDED);
    while let Some(Ok(_)) = body.frame().await {}
}
