const $ = id => document.getElementById(id);
const SHAPES = new Set(["svg", "path", "circle", "line", "text"]);

// An element with its properties, attributes, listeners (onNAME), variables of its style (--NAME)
// and children; "text" is its text.
function make(tag, about = {}, ...children) {
  const made = SHAPES.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (name === "text") made.textContent = value;
    else if (name.startsWith("--")) made.style.setProperty(name, value);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && !SHAPES.has(tag)) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const section = (title, ...children) => make("section", {}, make("h2", {text: title}), ...children);
const note = text => make("p", {className: "note", text});
const columns = (...children) => make("div", {className: "columns"}, ...children);
const fields = (...children) => make("div", {className: "fields"}, ...children);

// A wide table, in a box that scrolls, also by keys.
function wide(label, ...rows) {
  return make("div", {className: "scroll", tabIndex: 0, role: "region", "aria-label": label},
    make("table", {}, make("caption", {className: "hidden", text: label}), ...rows));
}

const percent = p => (100 * p).toFixed(p < 0.0995 ? 1 : 0) + " %";
const visible = text => ({"\n": "line break", " ": "space", "": "(start)"})[text] ?? text;

function bars(pairs) {
  return make("ol", {className: "bars"}, ...pairs.map(([name, p]) => make("li", {},
    make("span", {text: visible(name)}), make("span", {className: "bar", "--p": p}),
    make("span", {className: "number", text: percent(p)}))));
}

const shade = (share, text) =>
  make("td", {className: "gate", title: text, "--v": share}, make("span", {className: "hidden", text}));

const nameOf = g => `${g.meaning || g.gate}, layer ${g.layer + 1}${g.backward ? ", backwards" : ""}`;

// Each gate's means by step, or what "texts" says of them.  A bound that there is not is the least, or the greatest, mean.
function gatesTable({steps, gates}) {
  const row = g => {
    const low = g.bounds[0] ?? Math.min(...g.means), high = g.bounds[1] ?? Math.max(...g.means);
    return make("tr", {}, make("th", {scope: "row", text: nameOf(g)}),
      ...g.means.map((mean, k) => shade((mean - low) / (high - low || 1), g.texts?.[k] ?? mean.toFixed(2))));
  };
  const heads = steps.map(step => make("th", {scope: "col", text: visible(step)}));
  return wide("Mean of each gate at each step", make("thead", {}, make("tr", {}, make("td"), ...heads)),
    make("tbody", {}, ...gates.map(row)));
}

const ABOUT_GATES = "Mean over a layer's units: the stronger the colour, the more open the gate.";
