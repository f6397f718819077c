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

// Each gate's means by step, or what "texts" says of them.  A row's colours go from its least value to its greatest: means over
// many units stay near the middle of the gate's range, where all colours would be alike.
function gatesTable({steps, gates}) {
  const row = g => {
    const low = Math.min(...g.means), high = Math.max(...g.means);
    const told = k => g.texts?.[k] ?? g.means[k].toFixed(2);
    const [least, greatest] = [low, high].map(bound => told(g.means.indexOf(bound)));
    return make("tr", {}, make("th", {scope: "row"}, nameOf(g),
      make("span", {className: "range", text: least === greatest ? least : `${least} – ${greatest}`})),
      ...g.means.map((mean, k) => shade((mean - low) / (high - low || 1), told(k))));
  };
  const heads = steps.map(step => make("th", {scope: "col", text: visible(step)}));
  return wide("Mean of each gate at each step", make("thead", {}, make("tr", {}, make("td"), ...heads)),
    make("tbody", {}, ...gates.map(row)));
}

const COLOURS = "In each row the colours go from the least value to the greatest; both stand below its name.";
const ABOUT_GATES = `Mean over a layer's units: the greater, the more open the gate. ${COLOURS}`;
