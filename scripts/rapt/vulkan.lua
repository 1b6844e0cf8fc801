-- rapt.vulkan: shaders of one's own, from the prompt. docs/lua-api.md has an example.
local core = require "rapt.core"
local spirv = require "rapt.spirv"

local vulkan = { messages = core.vulkan.messages, timings = core.vulkan.timings }

local formats = { int = "<i4", uint = "<I4", float = "<f" }

-- "name:3: 'x' : undeclared identifier" of glslang's "ERROR: 0:3: ...".
local function word_log(name, log)
  local lines = {}
  for line in log:gmatch("[^\n]+") do
    local number, text = line:match("^%s*ERROR: %d+:(%d+): (.*)$")
    if number and not text:find("compilation terminated", 1, true) then
      lines[#lines + 1] = ("%s:%s: %s"):format(name, number, (text:gsub("%s+$", "")))
    end
  end
  return #lines > 0 and table.concat(lines, "\n") or log:gsub("%s+$", "")
end

local function compiler()
  local fine, module = pcall(require, "rapt.glslang")
  if not fine then
    core.raise("rapt.vulkan.compile: the module rapt.glslang is not to be had: " .. tostring(module))
  end
  return module
end

-- 32 bits of a number that is declared as `kind`; nil where it is none.
local function bits(kind, value)
  if kind == "bool" then
    if type(value) == "boolean" then return value and 1 or 0 end
  elseif type(value) == "number" then
    if kind == "float" then return (("<I4"):unpack(("<f"):pack(value))) end
    local whole = math.tointeger(value)
    if whole and whole >= -0x80000000 and whole <= 0xffffffff then return whole & 0xffffffff end
  end
end

-- Specialization constants 0, 1, ... as a list; those not given keep the shader's own values.
local function read_constants(name, declared, given)
  local list, most = {}, -1
  for id in pairs(declared) do most = math.max(most, id) end
  for id, value in pairs(given or {}) do
    if not declared[id] then core.raise(("%s: the shader has no constant %s"):format(name, tostring(id))) end
    if not bits(declared[id].kind, value) then
      core.raise(("%s: constant %d must be of type %s, got %s"):format(name, id, declared[id].kind,
        tostring(value)))
    end
  end
  for id = 0, most do
    local one = declared[id]
    local value = given and given[id]
    if value ~= nil then
      list[id + 1] = bits(one.kind, value)
    else
      local own = one and one.value or 0
      list[id + 1] = type(own) == "boolean" and (own and 1 or 0) or own
    end
  end
  return list
end

local function pack_member(name, member, value)
  local parts, list = {}, member.count == 1 and { value } or value
  if type(list) ~= "table" or #list ~= member.count then
    core.raise(("%s: push constant '%s' must be %d numbers"):format(name, member.name, member.count))
  end
  for i = 1, member.count do
    if not bits(member.kind, list[i]) then
      core.raise(("%s: push constant '%s' must be of type %s, got %s"):format(name, member.name, member.kind,
        tostring(list[i])))
    end
    if member.kind == "float" then
      parts[i] = formats.float:pack(list[i])
    else
      parts[i] = formats.uint:pack(bits(member.kind, list[i]))
    end
  end
  return table.concat(parts)
end

local function pack_push(name, push, given)
  given = given or {}
  local known, bytes = {}, ("\0"):rep(push.bytes)
  for _, member in ipairs(push) do
    known[member.name] = true
    if given[member.name] == nil then
      core.raise(("%s: push constant '%s' is missing"):format(name, member.name))
    end
    local packed = pack_member(name, member, given[member.name])
    bytes = bytes:sub(1, member.offset) .. packed .. bytes:sub(member.offset + #packed + 1)
  end
  for key in pairs(given) do
    if not known[key] then
      core.raise(("%s: the shader has no push constant '%s'"):format(name, tostring(key)))
    end
  end
  return bytes
end

local function read_groups(name, groups)
  local list = type(groups) == "table" and groups or { groups }
  local result = { 1, 1, 1 }
  if #list < 1 or #list > 3 then core.raise(name .. ": groups must be a number or a list of one to three") end
  for i, n in ipairs(list) do
    result[i] = math.tointeger(n)
    if not result[i] or n < 0 or n > 0xffffffff then
      core.raise(("%s: groups must be whole numbers from 0 to 2^32 - 1, got %s"):format(name, tostring(n)))
    end
  end
  return result
end

local pipeline = {}
pipeline.__index = pipeline

--- pipeline({tensors}, {groups = {x, y, z}, push = {name = value}}): records a run of the shader over
--- tensors of one device, in the order of their bindings.
function pipeline:__call(tensors, options)
  options = options or {}
  if type(tensors) ~= "table" or #tensors ~= #self.buffers then
    core.raise(("%s: a list of %d tensor%s was expected"):format(self.name, #self.buffers,
      #self.buffers == 1 and "" or "s"))
  end
  for key in pairs(options) do
    if key ~= "groups" and key ~= "push" then
      core.raise(("%s: no option '%s'; there are groups and push"):format(self.name, tostring(key)))
    end
  end
  local groups = read_groups(self.name, options.groups)
  local push = pack_push(self.name, self.push, options.push)
  core.vulkan.run(self.program, tensors, groups[1], groups[2], groups[3], push)
end

function pipeline:__tostring()
  local parts = {}
  for i, buffer in ipairs(self.buffers) do
    parts[i] = (buffer.readonly and "readonly " or "") .. buffer.name
  end
  local push = {}
  for i, member in ipairs(self.push) do push[i] = member.name end
  return ("%s: buffers %s; push constants %s"):format(self.name, table.concat(parts, ", "),
    #push > 0 and table.concat(push, ", ") or "none")
end

local known_options = { name = true, constants = true, subgroup = true }

--- A compute shader in GLSL as a function of tensors. Options: name, for messages; constants, values of
--- specialization constants by their id; subgroup, the subgroup size that it must run with. A shader that
--- does not compile is an error that gives its lines.
function vulkan.compile(glsl, options)
  options = options or {}
  if type(glsl) ~= "string" then
    core.raise("rapt.vulkan.compile: the shader must be text, got " .. type(glsl))
  end
  for key in pairs(options) do
    if not known_options[key] then
      core.raise(("rapt.vulkan.compile: no option '%s'; there are constants, name and subgroup")
        :format(tostring(key)))
    end
  end
  local name = options.name or "shader"
  local code, log = compiler().compile(glsl)
  if not code then core.raise("rapt.vulkan.compile: " .. word_log(name, log)) end
  local asks, why = spirv.read(code)
  if not asks then core.raise(("rapt.vulkan.compile: %s: %s"):format(name, why)) end
  if #asks.buffers == 0 then core.raise(("rapt.vulkan.compile: %s has no buffer"):format(name)) end
  if asks.push.bytes > 128 then
    core.raise(("rapt.vulkan.compile: %s has %d bytes of push constants; there is room for 128"):format(name,
      asks.push.bytes))
  end
  local written = 0
  for i, buffer in ipairs(asks.buffers) do
    if not buffer.readonly then written = written | 1 << i - 1 end
  end
  local program = core.vulkan.program(code, { name = name, buffers = #asks.buffers,
    push_bytes = asks.push.bytes, subgroup = options.subgroup, features = asks.features, written = written,
    constants = read_constants(name, asks.constants, options.constants) })
  return setmetatable({ name = name, buffers = asks.buffers, push = asks.push, program = program }, pipeline)
end

return vulkan
