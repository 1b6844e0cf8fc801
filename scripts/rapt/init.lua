-- rapt: attention operators as plugins, tensors, automatic differentiation. docs/lua-api.md is the
-- reference. The work is done in rapt.core (core/lua); here stands what is easier said in Lua.
local core = require "rapt.core"
local extend = require "rapt.tensor"

-- Errors point at the first line outside this folder.
local folder = debug.getinfo(1, "S").source:match("^(.*)init%.lua$")
if folder then core.set_library(folder) end

local rapt = {
  _VERSION = core.version,
  version = core.version,
  -- tensors
  tensor = core.tensor, zeros = core.zeros, ones = core.ones, full = core.full, arange = core.arange,
  rand = core.rand, randn = core.randn, randint = core.randint, manual_seed = core.manual_seed,
  frombytes = core.frombytes, is_tensor = core.is_tensor, allclose = core.allclose,
  load = core.load, save = core.save, metadata = core.metadata,
  -- operators and plugins
  call = core.call, explain = core.explain, weights = core.weights, cost = core.cost, state = core.state,
  operators = core.operators, describe = core.describe, load_plugin = core.load_plugin,
  reload = core.reload, plugins = core.plugins,
  -- the machine
  devices = core.devices, synchronize = core.synchronize, memory = core.memory, measure = core.measure,
  now = core.now, device_seconds = core.device_seconds,
}

extend(rapt, core)

--- The functions of operators by name: rapt.ops.cog{q = q, k = k, v = v, causal = true}. Walking over
--- it with pairs gives the attention operators. `merge` is core.merge.
rapt.ops = setmetatable({}, {
  __index = function(ops, name)
    return core.ops_index(ops, name == "merge" and "core.merge" or name)
  end,
  __pairs = function(ops)
    local names, i = core.operators(), 0
    return function()
      i = i + 1
      if names[i] then return names[i], ops[names[i]] end
    end
  end,
})

--- Helper functions that plugins export: rapt.fn.PLUGIN.NAME(...).
rapt.fn = setmetatable({}, {
  __index = function(_, name)
    local known = {}
    for _, plugin in ipairs(core.plugins()) do
      if plugin.functions then
        if plugin.name == name then return plugin.functions end
        known[#known + 1] = plugin.name
      end
    end
    core.raise(("rapt.fn: no plugin is called %s; loaded are %s"):format(tostring(name),
      table.concat(known, ", ")))
  end,
})

--- Calls fn(...) without recording for differentiation and returns what it returns. Recording is as
--- before afterwards, also after an error.
function rapt.no_grad(fn, ...)
  if type(fn) ~= "function" then
    core.raise("rapt.no_grad: a function is expected, got " .. type(fn))
  end
  local before = core.set_recording(false)
  -- a value to be closed: runs when this function is left, in whatever way
  local guard <close> = setmetatable({}, { -- luacheck: ignore guard
    __close = function() core.set_recording(before) end,
  })
  return fn(...)
end

-- Modules that are loaded when they are first named.
local parts = {}
for name in ("bench data ffi help nn optim plot study tasks train viz vulkan"):gmatch("%a+") do
  parts[name] = true
end

return setmetatable(rapt, {
  __index = function(_, name)
    local module = parts[name] and "rapt." .. name
    if module and (package.loaded[module] or package.preload[module]
        or package.searchpath(module, package.path)) then
      local part = require(module)
      rawset(rapt, name, part)
      return part
    end
  end,
})
