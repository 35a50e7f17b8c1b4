//! A table as data, and how it is written: Markdown for people, CSV for programs, LaTeX for papers.

use std::fmt::Write;

/// What stands in one place of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number with its 95% interval, if it has one, and the digits after its point.
    Number {
        /// The number.
        value: f64,
        /// Lower and upper end.
        interval: Option<(f64, f64)>,
        /// Digits after the point, in Markdown and LaTeX; CSV has all of them.
        digits: usize,
    },
    /// Nothing, such as a method that cannot do a task.
    Missing,
}

impl Cell {
    /// A score in 0..1 with its interval.
    pub fn score(value: f64, low: f64, high: f64) -> Self {
        Self::Number { value, interval: Some((low, high)), digits: 4 }
    }

    /// A number without an interval.
    pub fn plain(value: f64, digits: usize) -> Self {
        Self::Number { value, interval: None, digits }
    }
}

/// Rows that belong together: ours, or the published ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// What the rows have in common, such as the model behind them; empty for none.
    pub name: String,
    /// One list of cells per row, as long as the columns.
    pub rows: Vec<Vec<Cell>>,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sheet {
    /// Its file name without extension, and its LaTeX label.
    pub name: String,
    /// What it shows, in a line.
    pub title: String,
    /// The heads of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub groups: Vec<Group>,
    /// Below the table, a line each.
    pub notes: Vec<String>,
}

impl Sheet {
    /// A pipe table with its title as a heading; the groups' names in the first column.
    pub fn markdown(&self) -> String {
        let mut out = format!("## {}\n\n| {} |\n|{}\n", self.title, self.columns.join(" | "), "---|".repeat(self.columns.len()));
        for group in &self.groups {
            if !group.name.is_empty() {
                let _ = writeln!(out, "| *{}* |{}", group.name, " |".repeat(self.columns.len() - 1));
            }
            for row in &group.rows {
                let cells: Vec<String> = row.iter().map(|cell| shown(cell, " [", ", ", "]").replace('|', "\\|")).collect();
                let _ = writeln!(out, "| {} |", cells.join(" | "));
            }
        }
        if !self.notes.is_empty() {
            let _ = write!(out, "\n{}\n", self.notes.join("\n"));
        }
        out
    }

    /// RFC 4180: a head, then one line a row; every column with intervals is followed by its low and high ends.
    pub fn csv(&self) -> String {
        let rows = || self.groups.iter().flat_map(|g| g.rows.iter().map(move |row| (g, row)));
        let wide: Vec<bool> = (0..self.columns.len())
            .map(|i| rows().any(|(_, row)| matches!(row.get(i), Some(Cell::Number { interval: Some(_), .. }))))
            .collect();
        let mut head = vec!["group".to_string()];
        for (column, wide) in self.columns.iter().zip(&wide) {
            head.push(column.clone());
            if *wide {
                head.extend([format!("{column} low"), format!("{column} high")]);
            }
        }
        let mut lines = vec![head];
        for (group, row) in rows() {
            let mut line = vec![group.name.clone()];
            for (cell, wide) in row.iter().zip(&wide) {
                let (value, low, high) = match cell {
                    Cell::Text(text) => (text.clone(), String::new(), String::new()),
                    Cell::Missing => Default::default(),
                    Cell::Number { value, interval, .. } => {
                        let end = |pick: fn(&(f64, f64)) -> f64| interval.as_ref().map_or(String::new(), |i| pick(i).to_string());
                        (value.to_string(), end(|i| i.0), end(|i| i.1))
                    }
                };
                line.push(value);
                if *wide {
                    line.extend([low, high]);
                }
            }
            lines.push(line);
        }
        lines.iter().map(|line| line.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(",") + "\r\n").collect()
    }

    /// A `table` environment for `booktabs`; the best number of a column is bold within its group where `bold` is set.
    pub fn latex(&self, bold: bool) -> String {
        let align = format!("l{}", "r".repeat(self.columns.len().saturating_sub(1)));
        let heads: Vec<String> = self.columns.iter().map(|c| escaped(c)).collect();
        let mut out = format!(
            "% needs \\usepackage{{booktabs}}\n\\begin{{table}}\n\\centering\n\\caption{{{}}}\n\\label{{tab:{}}}\n\\begin{{tabular}}{{{align}}}\n\\toprule\n{} \\\\\n",
            escaped(&self.title),
            self.name,
            heads.join(" & ")
        );
        for group in &self.groups {
            out.push_str("\\midrule\n");
            if !group.name.is_empty() {
                let _ = writeln!(out, "\\multicolumn{{{}}}{{l}}{{\\emph{{{}}}}} \\\\", self.columns.len(), escaped(&group.name));
            }
            let best: Vec<f64> =
                (0..self.columns.len()).map(|i| group.rows.iter().filter_map(|r| number(r.get(i)?)).fold(f64::MIN, f64::max)).collect();
            for row in &group.rows {
                let cells = row.iter().zip(&best).map(|(cell, best)| {
                    let text = escaped(&shown(cell, " (", "--", ")"));
                    match bold && group.rows.len() > 1 && number(cell) == Some(*best) {
                        true => format!("\\textbf{{{text}}}"),
                        false => text,
                    }
                });
                let _ = writeln!(out, "{} \\\\", cells.collect::<Vec<_>>().join(" & "));
            }
        }
        out.push_str("\\bottomrule\n\\end{tabular}\n");
        for note in &self.notes {
            let _ = writeln!(out, "\n\\footnotesize {}", escaped(note));
        }
        out.push_str("\\end{table}\n");
        out
    }
}

fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Number { value, .. } => Some(*value),
        _ => None,
    }
}

/// A cell as text, its interval between the given signs.
fn shown(cell: &Cell, open: &str, between: &str, close: &str) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Missing => "-".into(),
        Cell::Number { value, interval: None, digits } => format!("{value:.digits$}"),
        Cell::Number { value, interval: Some((low, high)), digits } => {
            format!("{value:.digits$}{open}{low:.digits$}{between}{high:.digits$}{close}")
        }
    }
}

fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_string(),
    }
}

/// Text for LaTeX: its ten special characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '\\' => out.push_str("\\textbackslash{}"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let row = |name: &str, value| vec![Cell::Text(name.into()), Cell::score(value, 0.25, 0.75), Cell::Missing];
        let published = vec![Cell::Text("a|b, \"c\"".into()), Cell::plain(0.9, 4), Cell::plain(12.0, 0)];
        Sheet {
            name: "table1".into(),
            title: "F1 & 5%".into(),
            columns: vec!["row".into(), "f1".into(), "bytes_n".into()],
            groups: vec![
                Group { name: String::new(), rows: vec![row("x", 0.5), row("y", 0.625)] },
                Group { name: "Qwen3-8B".into(), rows: vec![published] },
            ],
            notes: vec!["100 samples".into()],
        }
    }

    #[test]
    fn markdown_csv_and_latex_of_one_table() {
        let expected = "## F1 & 5%\n\n| row | f1 | bytes_n |\n|---|---|---|\n| x | 0.5000 [0.2500, 0.7500] | - |\n\
                        | y | 0.6250 [0.2500, 0.7500] | - |\n| *Qwen3-8B* | | |\n| a\\|b, \"c\" | 0.9000 | 12 |\n\n100 samples\n";
        assert_eq!(sheet().markdown(), expected);
        let expected = "group,row,f1,f1 low,f1 high,bytes_n\r\n,x,0.5,0.25,0.75,\r\n,y,0.625,0.25,0.75,\r\n\
                        Qwen3-8B,\"a|b, \"\"c\"\"\",0.9,,,12\r\n";
        assert_eq!(sheet().csv(), expected);
        let latex = sheet().latex(true);
        assert!(latex.contains("\\caption{F1 \\& 5\\%}") && latex.contains("row & f1 & bytes\\_n \\\\"), "{latex}");
        assert!(latex.contains("x & 0.5000 (0.2500--0.7500) & - \\\\\ny & \\textbf{0.6250 (0.2500--0.7500)} & - \\\\"), "{latex}");
        assert!(latex.contains("\\multicolumn{3}{l}{\\emph{Qwen3-8B}} \\\\\na|b, \"c\" & 0.9000 & 12 \\\\"), "{latex}");
        let braces = |c| latex.matches(c).count();
        assert_eq!(braces('{'), braces('}'));
    }
}
