//! The table of routes: what a gateway file says, checked and ready to be asked.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::method::{Method, Verb};
use crate::pattern::Pattern;
use crate::request::{self, Match};
use crate::router::{self, Router};
use crate::{load, Error};

/// A function's place in [`Table::functions`]: routes to one function share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FunctionId(pub u32);

/// One line of the gateway file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub verb: Verb,
    /// As matched: without a trailing slash.
    pub path: String,
    /// The function's name in its one spelling, with slashes.
    pub function: String,
    /// Where the route stands, unless the file computes it.
    pub line: Option<u32>,
}

/// The location of nginx's own tree that a route needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// A static route; one that does not end in a slash comes with a second one that does.
    Exact(String),
    /// Routes with parameters: the literal part up to the last `/` before the first one.
    Prefix(String),
}

/// What a request's method gets at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Call(FunctionId),
    /// No route names OPTIONS here, so that the table answers: with [`Entry::allow`].
    Options,
    /// 405, with [`Entry::allow`].
    NotAllowed,
}

/// All routes of one path.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it stands in the table.
    index: usize,
    path: String,
    params: Vec<String>,
    by_method: [Option<FunctionId>; Method::ALL.len()],
    any: Option<FunctionId>,
    allow: String,
}

impl Entry {
    /// The path as the gateway file writes it, without a trailing slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The parameters' names, in the order of the path.
    pub fn params(&self) -> &[String] {
        &self.params
    }

    /// The value of an `Allow` header, such as `GET, HEAD, POST, OPTIONS`.
    pub fn allow(&self) -> &str {
        &self.allow
    }

    /// What a request gets. `None` stands for a method that no route can name, such as TRACE: only `ANY` takes it.
    pub fn answer(&self, method: Option<Method>) -> Answer {
        let named = |method: Method| self.by_method[method as usize];
        let function = match method {
            Some(Method::Head) => named(Method::Head).or(named(Method::Get)),
            Some(method) => named(method),
            None => None,
        };
        match function.or(self.any) {
            Some(function) => Answer::Call(function),
            None if method == Some(Method::Options) => Answer::Options,
            None => Answer::NotAllowed,
        }
    }

    /// A number for this entry with one of its functions: no other pair in the table has it, and it is below
    /// [`Table::targets`].
    pub fn target(&self, function: FunctionId) -> usize {
        let at = |slot: &Option<FunctionId>| *slot == Some(function);
        let method = self.by_method.iter().position(at).unwrap_or(Method::ALL.len());
        self.index * (Method::ALL.len() + 1) + method
    }

    fn slot(&mut self, verb: Verb) -> &mut Option<FunctionId> {
        match verb {
            Verb::One(method) => &mut self.by_method[method as usize],
            Verb::Any => &mut self.any,
        }
    }

    fn list_methods(&mut self) {
        let allowed = |method: &Method| self.answer(Some(*method)) != Answer::NotAllowed;
        let names: Vec<&str> =
            Method::ALL.iter().filter(|m| allowed(m)).map(|m| m.name()).collect();
        self.allow = names.join(", ");
    }
}

/// What [`Builder::add`] finds wrong with a route beside those before it, given by their index.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Clash {
    Duplicate(usize),
    Pattern(usize),
}

/// A gateway file's routes.
#[derive(Debug)]
pub struct Table {
    routes: Vec<Route>,
    entries: Vec<Entry>,
    functions: Vec<String>,
    prefixes: Vec<Option<String>>,
    router: Router,
}

impl Table {
    /// Runs a gateway file, once and in a Lua state of its own, and checks what it returns.
    ///
    /// The file may `require` modules of the project's `app/` and `lib/`, and compute its routes. The functions it
    /// names have to exist in `app/`; [`crate::check_functions`] looks into them.
    pub fn load(gateway_file: &Path, project: &Path) -> Result<Table, Error> {
        load::load(gateway_file, project)
    }

    /// Every route, in the order of the file.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Every function that a route names, once; a [`FunctionId`] is an index of it.
    pub fn functions(&self) -> &[String] {
        &self.functions
    }

    pub fn function(&self, id: FunctionId) -> &str {
        &self.functions[id.0 as usize]
    }

    /// How many numbers [`Entry::target`] gives at most.
    pub fn targets(&self) -> usize {
        self.entries.len() * (Method::ALL.len() + 1)
    }

    /// The locations that lead every request which a route could match here, without repetition.
    pub fn locations(&self) -> Vec<Location> {
        let mut prefixes = HashSet::new();
        let mut locations = Vec::with_capacity(2 * self.entries.len());
        for (entry, prefix) in self.entries.iter().zip(&self.prefixes) {
            match prefix {
                Some(prefix) => {
                    if prefixes.insert(prefix) {
                        locations.push(Location::Prefix(prefix.clone()));
                    }
                }
                // A static path has one entry.
                None => {
                    locations.push(Location::Exact(entry.path.clone()));
                    if entry.path != "/" {
                        locations.push(Location::Exact(format!("{}/", entry.path)));
                    }
                }
            }
        }
        locations
    }

    /// Finds a decoded path, such as nginx's `$uri`. Nothing is allocated.
    pub fn find<'t, 'p>(&'t self, path: &'p [u8]) -> Option<Match<'t, 'p>> {
        request::find(&self.router, &self.entries, path)
    }

    /// Finds a path as the client sent it, such as nginx's `$request_uri`, and decodes each parameter by itself: `a%2Fb`
    /// is one segment whose value is `a/b`. What is not a valid escape is passed as it is.
    pub fn find_raw<'t, 'p>(&'t self, path: &'p [u8]) -> Option<Match<'t, 'p>> {
        request::find_raw(&self.router, &self.entries, path)
    }
}

/// A table while routes are added, with what finds an earlier one in one step.
#[derive(Debug)]
pub(crate) struct Builder {
    routes: Vec<Route>,
    entries: Vec<Entry>,
    functions: Vec<String>,
    prefixes: Vec<Option<String>>,
    router: router::Builder,
    function_ids: HashMap<String, FunctionId>,
}

impl Builder {
    pub fn new() -> Builder {
        Builder {
            routes: Vec::new(),
            entries: Vec::new(),
            functions: Vec::new(),
            prefixes: Vec::new(),
            router: router::Builder::new(),
            function_ids: HashMap::new(),
        }
    }

    /// Whether an earlier route names that function.
    pub fn has_function(&self, name: &str) -> bool {
        self.function_ids.contains_key(name)
    }

    pub fn add(
        &mut self,
        verb: Verb,
        pattern: &Pattern,
        function: String,
        line: Option<u32>,
    ) -> Result<(), Clash> {
        let path = pattern.path();
        let at = match self.router.insert(pattern, self.entries.len() as u32) {
            Ok(()) => {
                self.entries.push(Entry {
                    index: self.entries.len(),
                    path: path.clone(),
                    params: pattern.param_names().into_iter().map(String::from).collect(),
                    by_method: [None; Method::ALL.len()],
                    any: None,
                    allow: String::new(),
                });
                self.prefixes.push(pattern.prefix());
                self.entries.len() - 1
            }
            Err(at) => at as usize,
        };
        if self.entries[at].path != path {
            let earlier = &self.entries[at].path;
            return Err(Clash::Pattern(self.earlier(|route| route.path == *earlier)));
        }
        if self.entries[at].slot(verb).is_some() {
            return Err(Clash::Duplicate(
                self.earlier(|route| route.path == path && route.verb == verb),
            ));
        }
        let id = self.function_id(&function);
        *self.entries[at].slot(verb) = Some(id);
        self.routes.push(Route { verb, path, function, line });
        Ok(())
    }

    pub fn finish(mut self) -> Table {
        self.entries.iter_mut().for_each(Entry::list_methods);
        // It stays for as long as the worker does.
        self.entries.shrink_to_fit();
        self.routes.shrink_to_fit();
        self.prefixes.shrink_to_fit();
        Table {
            routes: self.routes,
            entries: self.entries,
            functions: self.functions,
            prefixes: self.prefixes,
            router: self.router.finish(),
        }
    }

    fn earlier(&self, is_it: impl Fn(&Route) -> bool) -> usize {
        self.routes.iter().position(is_it).unwrap_or_default()
    }

    fn function_id(&mut self, name: &str) -> FunctionId {
        if let Some(&known) = self.function_ids.get(name) {
            return known;
        }
        let id = FunctionId(self.functions.len() as u32);
        self.functions.push(name.into());
        self.function_ids.insert(name.into(), id);
        id
    }
}
