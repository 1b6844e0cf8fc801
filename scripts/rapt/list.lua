-- `rapt list`: operators, plugins and devices; what is off says why.

local list = {}

--- Everything as one table, for --json.
function list.gather()
  local rapt = require "rapt"
  local result = { version = rapt.version, operators = {}, plugins = {}, devices = rapt.devices() }
  for i, p in ipairs(rapt.plugins()) do
    result.plugins[i] = { name = p.name, path = p.path, version = p.version, hash = p.hash, error = p.error,
      operators = #p.operators > 0 and p.operators or nil, author = p.author, license = p.license,
        abi = p.abi }
  end
  for _, name in ipairs(rapt.operators("all")) do
    local d = rapt.describe(name)
    local kernels = {}
    for i, kernel in ipairs(d.kernels) do
      kernels[i] = { name = kernel.name, device = kernel.device, dtypes = kernel.dtypes,
        backward = kernel.backward and true or false }
    end
    result.operators[#result.operators + 1] = { name = name, title = d.title, paper = d.paper,
      builtin = name:find("^core%.") ~= nil, kernels = kernels }
  end
  return result
end

local function kernels_text(kernels)
  local parts = {}
  for i, kernel in ipairs(kernels) do
    parts[i] = ("%s (%s%s)"):format(kernel.name, table.concat(kernel.dtypes, " "),
      kernel.backward and "" or "; no backward")
  end
  return table.concat(parts, ", ")
end

local function padded(rows)
  local widths, lines = {}, {}
  for _, row in ipairs(rows) do
    for i = 1, #row - 1 do widths[i] = math.max(widths[i] or 0, utf8.len(row[i]) or #row[i]) end
  end
  for _, row in ipairs(rows) do
    local parts = {}
    for i, cell in ipairs(row) do
      parts[i] = i < #row and cell .. (" "):rep(widths[i] - (utf8.len(cell) or #cell)) or cell
    end
    lines[#lines + 1] = "  " .. table.concat(parts, "  ")
  end
  return lines
end

local function section(out, title, rows)
  if #out > 0 then out[#out + 1] = "" end
  out[#out + 1] = title
  if #rows == 0 then rows = { { "none" } } end
  for _, line in ipairs(padded(rows)) do out[#out + 1] = line end
end

--- The same for people.
function list.text()
  local all = list.gather()
  local out, operators, builtins, plugins, devices = {}, {}, {}, {}, {}
  for _, op in ipairs(all.operators) do
    if op.builtin then
      builtins[#builtins + 1] = op.name:gsub("^core%.", "")
    else
      operators[#operators + 1] = { op.name, op.title or "", op.paper or "", kernels_text(op.kernels) }
    end
  end
  section(out, "Attention operators", operators)
  for _, plugin in ipairs(all.plugins) do
    if plugin.error then
      plugins[#plugins + 1] = { plugin.name, "off", plugin.path, plugin.error }
    elseif plugin.path ~= "built in" then
      plugins[#plugins + 1] = { plugin.name, plugin.version or "", plugin.path, "sha256 " .. plugin.hash }
    end
  end
  section(out, "Plugins", plugins)
  for _, device in ipairs(all.devices) do
    devices[#devices + 1] = { device.name, device.available and "on" or "off", device.model or "",
      device.detail or "" }
  end
  section(out, "Devices", devices)
  out[#out + 1] = ""
  out[#out + 1] = "Built in (rapt.NAME, or as a method of a tensor)"
  out[#out + 1] = require("rapt.terminal").wrap(table.concat(builtins, " "), 100, "  ")
  return table.concat(out, "\n") .. "\n"
end

return list
