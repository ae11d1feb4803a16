//! `evenkeel volume list`

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Column, Human, show, table};
use evenkeel_api::{VolumesTable, show_size};

#[derive(clap::Args, Debug)]
pub(crate) struct Flags {}

pub(crate) fn run(context: &Context, client: &Client) -> Result<(), Failure> {
    show(context.format, &client.get::<VolumesTable>("/v1/volumes")?)
}

impl Human for VolumesTable {
    fn human(&self) -> String {
        if self.volumes.is_empty() {
            return "no volumes; 'evenkeel volume create NAME --size SIZE' makes one".to_owned();
        }
        let columns = [
            Column::Text("VOLUME"),
            Column::Number("SIZE"),
            Column::Number("ALLOCATED"),
            Column::Number("COPIES"),
            Column::Text("ALLOWED"),
            Column::Text("TARGET"),
        ];
        let rows = self.volumes.iter().map(|volume| {
            vec![
                volume.name.clone(),
                show_size(volume.size_bytes),
                show_size(volume.allocated_bytes),
                volume.replicas.to_string(),
                super::show::allowed(&volume.allow),
                volume.iqn.clone(),
            ]
        });
        table(&columns, rows)
    }
}
