//! Maps requests to handlers.

use super::{Response, text};
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use std::fmt;

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

    /// The answer to a request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response {
        let path = request.uri().path();
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
