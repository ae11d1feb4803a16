//! `evenkeel doctor ...`: a group whose directory was restored from a backup. All servers are stopped meanwhile.

use super::{Context, volume};
use crate::failure::{Exit, Failure};
use crate::output::{Column, Human, count, show, table};
use evenkeel_api::{ExtentList, ExtentLists, RebuiltRoutes, parse_size, show_size};
use evenkeel_server::directory::{EtcdAddress, EtcdTls};
use evenkeel_server::{Adopt, Rebuild};
use std::path::{Path, PathBuf};

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// List what the stores of a data folder hold: with -o json for rebuild-routes.
    Extents(Extents),
    /// Write the routes that the stores know better than the directory, and raise its generation.
    RebuildRoutes(Routes),
}

#[derive(clap::Args, Debug)]
pub(crate) struct Extents {
    /// Data folder of this machine, or a store.
    #[arg(long, env = "EVENKEEL_DATA", value_name = "DIR")]
    data: PathBuf,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Routes {
    /// The directory: etcd://HOST:PORT with more members after commas, etcds:// for TLS.
    #[arg(long, env = "EVENKEEL_DIRECTORY", value_name = "ADDRESS")]
    directory: String,
    /// Certificate (PEM) of the authority that signed etcd's.
    #[arg(long, env = "EVENKEEL_DIRECTORY_CA", value_name = "FILE")]
    directory_ca: Option<PathBuf>,
    /// A certificate (PEM) for etcd, where it asks for one.
    #[arg(long, env = "EVENKEEL_DIRECTORY_CERT", value_name = "FILE", requires = "directory_key")]
    directory_cert: Option<PathBuf>,
    /// The key (PEM) that belongs to it.
    #[arg(long, env = "EVENKEEL_DIRECTORY_KEY", value_name = "FILE", requires = "directory_cert")]
    directory_key: Option<PathBuf>,
    /// Name of the group.
    #[arg(long, env = "EVENKEEL_GROUP", value_name = "NAME", default_value = "evenkeel")]
    group: String,
    /// A server whose disk is lost, so that there is no list of it; several times.
    #[arg(long, value_name = "SERVER", value_parser = volume::name_parser())]
    without: Vec<String>,
    /// A volume that was made after the backup, by the number that a run without this names: as NUMBER=NAME, or
    /// NUMBER=NAME:SIZE where the end was never written; several times.
    #[arg(long, value_name = "NUMBER=NAME[:SIZE]", value_parser = parse_adopt)]
    adopt: Vec<Adopt>,
    /// An initiator that may use the adopted volumes, or any; several times.
    #[arg(long, value_name = "INITIATOR", requires = "adopt")]
    allow: Vec<String>,
    /// Only show what would be written.
    #[arg(long)]
    dry_run: bool,
    /// What 'evenkeel doctor extents -o json' printed, of all machines.
    #[arg(required = true, value_name = "FILE")]
    lists: Vec<PathBuf>,
}

pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Extents(flags) => {
            show(context.format, &evenkeel_server::extents(&flags.data).map_err(Failure::failed)?)
        }
        Command::RebuildRoutes(flags) => rebuild_routes(context, flags),
    }
}

fn rebuild_routes(context: &Context, flags: &Routes) -> Result<(), Failure> {
    let usage = |error| Failure::new(Exit::Usage, error);
    let address = EtcdAddress::parse(&flags.directory).map_err(usage)?;
    let identity = flags.directory_cert.clone().zip(flags.directory_key.clone());
    let tls = EtcdTls { ca: flags.directory_ca.clone(), identity };
    let mut lists: Vec<ExtentList> = Vec::new();
    for file in &flags.lists {
        lists.extend(read(file)?.stores);
    }
    let rebuilt = evenkeel_server::rebuild_routes(&Rebuild {
        address: &address,
        tls: &tls,
        group: &flags.group,
        lists: &lists,
        without: &flags.without,
        adopt: &flags.adopt,
        allow: &flags.allow,
        dry_run: flags.dry_run,
    });
    show(context.format, &rebuilt.map_err(Failure::failed)?)
}

/// `NUMBER=NAME` or `NUMBER=NAME:SIZE`.
fn parse_adopt(text: &str) -> Result<Adopt, String> {
    let wrong = || format!("'{text}': write NUMBER=NAME or NUMBER=NAME:SIZE, for example 2=v2:8GiB");
    let (number, rest) = text.split_once('=').ok_or_else(wrong)?;
    let (name, size) = rest.split_once(':').map_or((rest, None), |(name, size)| (name, Some(size)));
    Ok(Adopt {
        number: number.parse().map_err(|_| wrong())?,
        name: name.to_owned(),
        size_bytes: size.map(parse_size).transpose()?,
    })
}

fn read(file: &Path) -> Result<ExtentLists, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        let line =
            format!("'{}': {error}; give what 'evenkeel doctor extents -o json' printed", file.display());
        Failure::new(Exit::Usage, line)
    };
    let bytes = std::fs::read(file).map_err(|error| wrong(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| wrong(&error))
}

impl Human for ExtentLists {
    fn human(&self) -> String {
        let columns = [
            Column::Text("STORE"),
            Column::Text("GROUP"),
            Column::Number("SERVER"),
            Column::Number("RECORDS"),
            Column::Number("COPIES"),
            Column::Number("SIZE"),
        ];
        let rows = self.stores.iter().map(|list| {
            let copies = || list.extents.iter().filter(|extent| extent.has_data);
            vec![
                list.store.clone(),
                list.group.clone(),
                list.server.to_string(),
                list.extents.len().to_string(),
                copies().count().to_string(),
                show_size(copies().map(|extent| extent.bytes).sum()),
            ]
        });
        table(&columns, rows)
    }
}

impl Human for RebuiltRoutes {
    fn human(&self) -> String {
        let mut parts = Vec::new();
        if !self.routes.is_empty() {
            let columns = [
                Column::Text("VOLUME"),
                Column::Number("EXTENT"),
                Column::Text("DIRECTORY SAID"),
                Column::Text("STORES SAY"),
            ];
            let rows = self.routes.iter().map(|route| {
                let names = |names: &[String]| names.join(" ");
                vec![route.volume.clone(), route.extent.to_string(), names(&route.was), names(&route.now)]
            });
            parts.push(table(&columns, rows));
        }
        for name in &self.counted_again {
            parts.push(format!("{name} was away at the backup: its copies count again"));
        }
        for name in &self.behind {
            parts.push(format!("{name} is behind: it is brought up to date when it starts"));
        }
        for adopted in &self.adopted_volumes {
            let size = show_size(adopted.size_bytes);
            parts.push(format!(
                "volume {} is in the directory again, as {} of {size}",
                adopted.volume, adopted.name
            ));
        }
        for missing in &self.missing_volumes {
            parts.push(format!(
                "volume {} is not in the directory: the stores of {} hold {} of it, up to number {}, {} in all; --adopt \
                 {}=NAME puts it back",
                missing.volume,
                missing.servers.join(", "),
                count(missing.extents as usize, "extent"),
                missing.last_extent,
                show_size(missing.bytes),
                missing.volume,
            ));
        }
        let extents = count(self.extents as usize, "extent");
        let routes = count(self.routes.len(), "route");
        parts.push(if self.written {
            format!(
                "{extents} looked at, {routes} written; the directory is in generation {}",
                self.generation
            )
        } else {
            format!("{extents} looked at, {routes} to be written; nothing was changed")
        });
        parts.join("\n")
    }
}
