//! Figures as SVG and PNG: lines with 95% bands, labelled points, and maps.

use std::path::Path;

use anyhow::{Context, Result, bail};
use kuva::backend::svg::SvgBackend;
use kuva::prelude::*;
use kuva::render::annotations::ReferenceLine;
use kuva::render::render::render_multiple;

/// Okabe and Ito's colours: different to every kind of colour vision; without their yellow, which is too pale for lines.
const COLORS: [&str; 7] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"];
const MARKERS: [MarkerShape; 4] = [MarkerShape::Circle, MarkerShape::Square, MarkerShape::Triangle, MarkerShape::Diamond];

/// Units of the drawing; the PNG has twice as many pixels.
const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 500.0;
/// What the drawing grows by for every series beyond the fourth, so that a long legend does not press the axes together.
const LEGEND_LINE: f64 = 20.0;
const PNG_SCALE: f32 = 2.0;

/// One line or cloud of points.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Where it goes.
    pub points: Vec<(f64, f64)>,
    /// The 95% interval of every point's y, or nothing.
    pub intervals: Vec<(f64, f64)>,
    /// Words beside the points, or nothing.
    pub labels: Vec<String>,
    /// Points only.
    pub scattered: bool,
}

impl Series {
    /// Whether every point is drawn: many of them hide their line.
    fn has_markers(&self) -> bool {
        self.scattered || self.points.len() <= 30
    }
}

/// A figure of lines and points.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// What it shows, with the number of samples.
    pub title: String,
    /// Name and unit of the horizontal axis.
    pub x: String,
    /// Name and unit of the vertical axis.
    pub y: String,
    /// Whether the horizontal axis is logarithmic.
    pub log_x: bool,
    /// Whether the vertical axis is that of a score, from 0 to 1.
    pub score: bool,
    /// Places on the horizontal axis that mean something, with their names.
    pub marks: Vec<(f64, String)>,
    /// The lines.
    pub series: Vec<Series>,
}

impl Lines {
    /// Writes NAME.svg and NAME.png into a directory.
    pub fn save(&self, dir: &Path, name: &str) -> Result<()> {
        let mut plots: Vec<Plot> = Vec::new();
        let finite = |points: &[(f64, f64)]| points.iter().all(|(x, y)| x.is_finite() && y.is_finite());
        for (index, series) in self.series.iter().enumerate() {
            if series.points.is_empty() || !finite(&series.points) {
                bail!("figure {name}: series {:?} has no points, or one that is no number", series.name);
            }
            let color = COLORS[index % COLORS.len()];
            let xs = || series.points.iter().map(|(x, _)| *x);
            if !series.scattered {
                if series.intervals.len() == series.points.len() && series.points.len() > 1 {
                    let (low, high) = (series.intervals.iter().map(|i| i.0), series.intervals.iter().map(|i| i.1));
                    plots.push(BandPlot::new(xs(), low, high).with_color(color).with_opacity(0.18).into());
                }
                plots.push(LinePlot::new().with_data(series.points.clone()).with_color(color).with_stroke_width(2.5).into());
            }
            if series.has_markers() {
                let mut points = ScatterPlot::new()
                    .with_data(series.points.clone())
                    .with_color(color)
                    .with_size(5.0)
                    .with_marker(MARKERS[index % MARKERS.len()]);
                if series.scattered && series.intervals.len() == series.points.len() {
                    let errors = series.points.iter().zip(&series.intervals).map(|((_, y), (low, high))| (y - low, high - y));
                    points = points.with_y_err_asymmetric(errors);
                }
                if series.labels.len() == series.points.len() {
                    points = points.with_labels(series.labels.clone()).with_repel_labels();
                }
                plots.push(points.into());
            }
        }
        let height = HEIGHT + LEGEND_LINE * self.series.len().saturating_sub(4) as f64;
        let mut layout = sized(Layout::auto_from_plots(&plots), WIDTH, height)
            .with_title(&self.title)
            .with_x_label(&self.x)
            .with_y_label(&self.y)
            .with_force_margins(75.0, 45.0);
        if self.log_x {
            layout = layout.with_log_x();
        }
        if self.score {
            layout = layout.with_y_axis_min(0.0).with_y_axis_max(1.0).with_y_tick_step(0.2);
        }
        for (at, what) in &self.marks {
            layout = layout.with_reference_line(ReferenceLine::vertical(*at).with_label(what).with_color("#555555"));
        }
        if self.series.len() > 1 {
            let entry = |(i, s): (usize, &Series)| LegendEntry {
                label: s.name.clone(),
                color: COLORS[i % COLORS.len()].into(),
                shape: if s.has_markers() { LegendShape::Marker(MARKERS[i % MARKERS.len()]) } else { LegendShape::Line },
                dasharray: None,
            };
            layout = layout
                .with_legend_entries(self.series.iter().enumerate().map(entry).collect())
                .with_legend_position(LegendPosition::OutsideBottomColumns)
                .with_legend_box(false)
                .with_x_label_offset(0.0, -6.0);
        }
        write(plots, layout, dir, name)
    }
}

/// A figure of a matrix.
#[derive(Clone, Debug, Default)]
pub struct Map {
    /// What it shows, with the number of samples.
    pub title: String,
    /// Name of the columns.
    pub x: String,
    /// Name of the rows.
    pub y: String,
    /// What a colour stands for.
    pub scale: String,
    /// The rows, the first at the bottom.
    pub rows: Vec<Vec<f64>>,
}

impl Map {
    /// Writes NAME.svg and NAME.png into a directory.
    pub fn save(&self, dir: &Path, name: &str) -> Result<()> {
        if self.rows.is_empty() || self.rows.iter().any(|r| r.len() != self.rows[0].len() || r.iter().any(|v| !v.is_finite())) {
            bail!("figure {name}: expected a matrix of numbers");
        }
        let numbers = |n: usize| (1..=n).map(|i| i.to_string()).collect::<Vec<_>>();
        let (rows, columns) = (numbers(self.rows.len()), numbers(self.rows[0].len()));
        let map = Heatmap::new().with_data(self.rows.clone()).with_labels(rows.clone(), columns.clone()).with_color_map(ColorMap::Cividis);
        let plots: Vec<Plot> = vec![map.into()];
        let layout = sized(Layout::auto_from_plots(&plots), WIDTH, 640.0)
            .with_x_categories(columns)
            .with_y_categories(rows)
            .with_title(&self.title)
            .with_subtitle(format!("colour: {}", self.scale))
            .with_x_label(&self.x)
            .with_y_label(&self.y);
        write(plots, layout, dir, name)
    }
}

fn sized(layout: Layout, width: f64, height: f64) -> Layout {
    layout.with_width(width).with_height(height).with_title_size(17).with_label_size(15).with_tick_size(13).with_body_size(13)
}

fn write(plots: Vec<Plot>, layout: Layout, dir: &Path, name: &str) -> Result<()> {
    let scene = render_multiple(plots, layout);
    let svg = SvgBackend::new().render_scene(&scene);
    let png = match kuva::backend::png::PngBackend::new().with_scale(PNG_SCALE).render_scene(&scene) {
        Ok(png) => png,
        Err(reason) => bail!("figure {name}: {reason}"),
    };
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    nextmem_model::write_atomically(&dir.join(format!("{name}.svg")), svg.as_bytes())?;
    Ok(nextmem_model::write_atomically(&dir.join(format!("{name}.png")), &png)?)
}
