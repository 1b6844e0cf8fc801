-- The operator catalogue, docs/catalogue.md, from the descriptions alone.

local help = require "rapt.help"

local catalogue = {}

local function cell(text)
  return (tostring(text or ""):gsub("|", "\\|"):gsub("%s*\n%s*", " "))
end

local function code(text)
  text = tostring(text or "")
  return text == "" and "" or "`" .. cell(text) .. "`"
end

local function rows_of(out, heads, rows)
  if #rows == 0 then return end
  out[#out + 1] = "| " .. table.concat(heads, " | ") .. " |"
  out[#out + 1] = "|" .. (" --- |"):rep(#heads)
  for _, row in ipairs(rows) do out[#out + 1] = "| " .. table.concat(row, " | ") .. " |" end
  out[#out + 1] = ""
end

local function argument_rows(arguments, kind)
  local rows = {}
  for i, a in ipairs(arguments) do
    local role = a.role or ""
    if role == "stream" and a.activation and a.activation ~= "" then role = role .. ", " .. a.activation end
    if role == "parameter" and a.init then role = role .. ", " .. a.init end
    local flags = {}
    if a.optional then flags[#flags + 1] = "optional" end
    if a.differentiable then flags[#flags + 1] = "differentiable" end
    if a.mutated then flags[#flags + 1] = "written in place" end
    rows[i] = { code(a.name), code(a.spec:match(":%s*(.*)$")), code(a.dtype or "T"), kind == "input"
      and cell(role) or "output",
      table.concat(flags, ", "), cell(a.doc) }
  end
  return rows
end

local function mark(has) return has and "yes" or "-" end

-- The kernels of a built-in operator: they have no steps and no weights.
local function write_kernels(out, d)
  local rows = {}
  for i, k in ipairs(d.kernels) do
    rows[i] = { code(k.name), cell(k.device), cell(table.concat(k.dtypes, " ")), mark(k.backward) }
  end
  rows_of(out, { "kernel", "device", "dtypes", "backward" }, rows)
end

local function has_input(d, name)
  for _, input in ipairs(d.inputs) do
    if input.name == name then return true end
  end
  return false
end

-- The kernel of greatest priority for a device and a dtype; of equals the first.
local function kernel_for(d, device, dtype)
  local best
  for _, k in ipairs(d.kernels) do
    for _, each in ipairs(k.dtypes) do
      if k.device == device and each == dtype and (not best or k.priority > best.priority) then best = k end
    end
  end
  return best
end

-- Whether a kernel takes packed sequences: then its backward reads their borders.
local function takes_packed(d, k)
  if not has_input(d, "cu_seqlens_q") then return false end
  for _, name in ipairs(k.keep or { "cu_seqlens_q" }) do
    if name == "cu_seqlens_q" then return true end
  end
  return false
end

-- What there is of an attention operator: device x dtype x what it can do. A step without a kernel of its
-- own is a forward call on the state.
local function write_status(out, d)
  local devices, seen, rows = {}, {}, {}
  for _, k in ipairs(d.kernels) do
    if not seen[k.device] then devices[#devices + 1] = k.device end
    seen[k.device] = true
  end
  for _, device in ipairs(devices) do
    for _, dtype in ipairs { "f32", "f16", "bf16" } do
      local k = kernel_for(d, device, dtype)
      rows[#rows + 1] = { cell(device), dtype, k and code(k.name) or "-", mark(k), mark(k and k.backward),
        mark(k and d.decode), mark(k and takes_packed(d, k)), mark(k and k.weights) }
    end
  end
  rows_of(out, { "device", "dtype", "kernel", "forward", "backward", "step", "packed", "weights" }, rows)
end

-- The folder docs of the sources, where these scripts lie in them.
local docs = (debug.getinfo(1, "S").source:match("^@(.*)rapt/catalogue%.lua$") or "") .. "../docs/"

-- Has the operator a page of its own?
local function has_page(name)
  local handle = io.open(docs .. "operators/" .. name .. ".md")
  if handle then handle:close() end
  return handle ~= nil
end

local function write_operator(out, d)
  out[#out + 1] = ("## %s"):format(d.name)
  out[#out + 1] = ""
  local head = {}
  if d.title then head[#head + 1] = "**" .. cell(d.title) .. "**" end
  if d.paper then head[#head + 1] = cell(d.paper) end
  head[#head + 1] = "version " .. cell(d.version or "?")
  out[#out + 1] = table.concat(head, ", ") .. "."
  out[#out + 1] = ""
  if d.doc then
    out[#out + 1] = d.doc
    out[#out + 1] = ""
  end
  if has_page(d.name) then
    out[#out + 1] = ("More, with an example: [operators/%s.md](operators/%s.md)."):format(d.name, d.name)
    out[#out + 1] = ""
  end
  out[#out + 1] = "    " .. help.usage(d)
  out[#out + 1] = ""
  local rows = argument_rows(d.inputs, "input")
  table.move(argument_rows(d.outputs, "output"), 1, #d.outputs, #rows + 1, rows)
  rows_of(out, { "argument", "shape", "dtype", "role", "flags", "" }, rows)
  local attrs = {}
  for i, a in ipairs(d.attrs) do
    local doc, range = help.attribute(a, d.name:find("^core%."))
    local default = a.required and "required" or code(a.default)
    attrs[i] = { code(a.name), a.type, default, cell(range), cell(doc) }
  end
  rows_of(out, { "attribute", "type", "default", "range", "" }, attrs)
  if d.where then
    out[#out + 1] = "Conditions: " .. code((d.where:gsub("%s*;%s*", "; "))) .. "."
    out[#out + 1] = ""
  end
  local abilities = help.abilities(d)
  if #abilities > 0 then
    out[#out + 1] = "Can do: " .. table.concat(abilities, ", ") .. "."
    out[#out + 1] = ""
  end
  local cost = d
  if cost.flops then
    out[#out + 1] = "Operations: forward " .. code(cost.flops)
      .. (cost.flops_backward and ", backward " .. code(cost.flops_backward) or "") .. "."
    out[#out + 1] = ""
  end
  if d.name:find("^core%.") then
    write_kernels(out, d)
  else
    write_status(out, d)
  end
end

--- The whole page as Markdown. It depends on the descriptions and on the pages in docs/operators, never on
--- the machine.
function catalogue.text()
  local rapt = require "rapt"
  local attention, core = {}, {}
  for _, name in ipairs(rapt.operators("all")) do
    local d = rapt.describe(name)
    local list = name:find("^core%.") and core or attention
    if not d.private then list[#list + 1] = d end
  end
  local out = {
    "# Operator catalogue", "",
    "Made by `rapt catalogue` from the operators' own descriptions; do not edit.", "",
    "Sizes: B batch, H heads, G key/value heads, N queries, M keys, D query/key features, E value features.",
    "A trailing `?` is the size or 1 (broadcast); `...` any number of leading dimensions. dtype `T` is the",
    "call's compute type, one for all such arguments.", "",
    "# Attention operators", "",
  }
  for _, d in ipairs(attention) do write_operator(out, d) end
  out[#out + 1] = "# Built-in operators"
  out[#out + 1] = ""
  for _, d in ipairs(core) do write_operator(out, d) end
  return table.concat(out, "\n")
end

return catalogue
