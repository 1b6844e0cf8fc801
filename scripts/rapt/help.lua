-- What a description says, for people: `rapt help cog` and rapt.help("cog").

local help = {}

local terminal = require "rapt.terminal"

-- Rows of cells as lines; all but the last column are as wide as their widest cell, the last is wrapped.
local function columns(rows, width)
  local widths = {}
  for _, row in ipairs(rows) do
    for i = 1, #row - 1 do widths[i] = math.max(widths[i] or 0, terminal.columns(row[i])) end
  end
  local lines = {}
  for _, row in ipairs(rows) do
    local parts, used = {}, 2
    for i = 1, #row - 1 do
      parts[i] = row[i] .. (" "):rep(widths[i] - terminal.columns(row[i]))
      used = used + widths[i] + 2
    end
    local head = "  " .. table.concat(parts, "  ") .. "  "
    local room = math.max(24, width - used)
    local first = true
    for line in (terminal.wrap(row[#row], room) .. "\n"):gmatch("([^\n]*)\n") do
      lines[#lines + 1] = ((first and head or (" "):rep(used)) .. line):gsub(" +$", "")
      first = false
    end
  end
  return lines
end

local function shape_text(argument)
  local shape = argument.spec:match(":%s*(.*)$") or ""
  return shape == "" and "scalar" or shape
end

local function dtype_text(argument)
  local dtype = argument.dtype
  return (not dtype or dtype == "T") and "" or dtype
end

local function argument_rows(list)
  local rows = {}
  for _, argument in ipairs(list) do
    local notes = {}
    if dtype_text(argument) ~= "" then notes[#notes + 1] = dtype_text(argument) end
    if argument.optional then notes[#notes + 1] = "optional" end
    if argument.mutated then notes[#notes + 1] = "written in place" end
    if argument.role == "parameter" then
      notes[#notes + 1] = "learnable" .. (argument.init and (", starts as " .. argument.init) or "")
    elseif argument.role == "stream" and argument.activation and argument.activation ~= "" then
      notes[#notes + 1] = "made by " .. argument.activation
    elseif argument.role == "state" then
      notes[#notes + 1] = "recurrent state"
    end
    local doc = argument.doc or ""
    if #notes > 0 then doc = doc .. (doc ~= "" and " " or "") .. "(" .. table.concat(notes, "; ") .. ")" end
    rows[#rows + 1] = { argument.name, shape_text(argument), doc }
  end
  return rows
end

--- The range of an attribute in words: "1 to 8", "at least 1", "none, left or right"; "" if there is none.
function help.range(attr)
  if attr.choices then
    local list = attr.choices
    return table.concat(list, ", ", 1, math.max(1, #list - 1)) .. (#list > 1 and " or " .. list[#list] or "")
  end
  if attr.min and attr.max then return ("%s to %s"):format(attr.min, attr.max) end
  if attr.min then return ("at least %s"):format(attr.min) end
  if attr.max then return ("at most %s"):format(attr.max) end
  return ""
end

--- The doc line and the range of an attribute. Dimensions of the core's operators count from 0 in a
-- description,
--- for C, and from 1 in Lua.
function help.attribute(attr, core)
  local doc = attr.doc or ""
  if core and (attr.name == "dim" or attr.name == "dims") then
    return (doc:gsub("counted from 0", "counted from 1")), ""
  end
  return doc, help.range(attr)
end

local function attr_rows(list, core)
  local rows = {}
  for _, attr in ipairs(list) do
    local default = attr.required and "required" or attr.default and ("= " .. tostring(attr.default))
      or "optional"
    local doc, range = help.attribute(attr, core)
    if range ~= "" then doc = doc .. (doc ~= "" and " " or "") .. "(" .. range .. ")" end
    rows[#rows + 1] = { attr.name, attr.type, default, doc }
  end
  return rows
end

--- What an operator can do, as a list of words.
function help.abilities(d)
  local list = {}
  if d.full then list[#list + 1] = "full" end
  if d.causal then list[#list + 1] = "causal" end
  if d.cross then list[#list + 1] = "cross (M may differ from N)" end
  if d.decode then list[#list + 1] = "step-by-step decoding" end
  if d.weights then list[#list + 1] = "inspection of weights" end
  for _, input in ipairs(d.inputs) do
    if input.spec:find("%f[%w]G%f[%W]") then
      list[#list + 1] = "grouped key/value heads (G divides H)"
      break
    end
  end
  return list
end

local function kernel_rows(kernels)
  local rows = {}
  for _, kernel in ipairs(kernels) do
    local can = { "forward" }
    for _, phase in ipairs { "backward", "step", "weights" } do
      if kernel[phase] then can[#can + 1] = phase end
    end
    local dtypes = table.concat(kernel.dtypes, " ")
    rows[#rows + 1] = { kernel.name, kernel.device, dtypes, table.concat(can, ", ") }
  end
  return rows
end

-- A call that one could type, made of the required inputs.
function help.usage(d)
  local parts = {}
  for _, input in ipairs(d.inputs) do
    if not input.optional then parts[#parts + 1] = input.name .. "=" .. input.name end
  end
  for _, attr in ipairs(d.attrs) do
    if attr.required then parts[#parts + 1] = attr.name .. "=..." end
    if attr.name == "causal" then parts[#parts + 1] = "causal=true" end
  end
  local short = d.name:match("^core%.(.*)$")
  if short then
    local names = {}
    for _, input in ipairs(d.inputs) do
      if not input.optional then names[#names + 1] = input.name end
    end
    for _, attr in ipairs(d.attrs) do
      if attr.required then names[#names + 1] = attr.name end
    end
    return ("rapt.%s(%s)"):format(short, table.concat(names, ", "))
  end
  if d.name:find(".", 1, true) then return ("rapt.ops[%q]{%s}"):format(d.name, table.concat(parts, ", ")) end
  return ("rapt.ops.%s{%s}"):format(d.name, table.concat(parts, ", "))
end

local function add(out, title, lines)
  if #lines == 0 then return end
  out[#out + 1] = ""
  out[#out + 1] = title
  for _, line in ipairs(lines) do out[#out + 1] = line end
end

local function cost_rows(d)
  local cost = d
  local rows = {}
  if cost.flops then rows[#rows + 1] = { "operations", cost.flops } end
  if cost.flops_backward then rows[#rows + 1] = { "of backward", cost.flops_backward } end
  if cost.bytes then rows[#rows + 1] = { "bytes moved", cost.bytes } end
  return rows
end

--- The text for an operator; unknown names are an error that names the nearest.
function help.text(name, width)
  local d = require("rapt").describe(name)
  width = math.min(width or terminal.width(), 100)
  local out = { d.name .. (d.title and (" - " .. d.title) or "") }
  if d.paper then out[#out + 1] = d.paper end
  if d.doc then
    out[#out + 1] = ""
    out[#out + 1] = terminal.wrap(d.doc, width)
  end
  add(out, "Use", { "  " .. help.usage(d) })
  add(out, "Inputs", columns(argument_rows(d.inputs), width))
  add(out, "Outputs", columns(argument_rows(d.outputs), width))
  add(out, "Attributes", columns(attr_rows(d.attrs, d.name:find("^core%.")), width))
  if d.where then add(out, "Conditions", { terminal.wrap(d.where:gsub("%s*;%s*", "; "), width, "  ") }) end
  local abilities = help.abilities(d)
  if #abilities > 0 then add(out, "Can do", { terminal.wrap(table.concat(abilities, ", "), width, "  ") }) end
  add(out, "Cost", columns(cost_rows(d), width))
  add(out, "Kernels", columns(kernel_rows(d.kernels), width))
  if d.example and d.example ~= "" then add(out, "Example sizes", { "  " .. d.example }) end
  return table.concat(out, "\n") .. "\n"
end

-- rapt.help("cog") returns the text: at the prompt it is shown, elsewhere print it.
return setmetatable(help, { __call = function(_, name) return help.text(name) end })
