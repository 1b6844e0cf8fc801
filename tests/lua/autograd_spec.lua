-- Automatic differentiation from Lua.
local rapt = require "rapt"

local function leaf(values) return rapt.tensor(values, { requires_grad = true }) end

local function refused(part, f, ...)
  local ok, text = pcall(f, ...)
  assert.is_false(ok)
  assert.is_truthy(text:find(part, 1, true), text)
end

describe("writing in place", function()
  it("into a leaf needs recording off, whichever way it is written", function()
    local x = leaf { 1, 2, 3 }
    refused("requires its gradient", function() x:fill_(1) end)
    refused("requires its gradient", function() x[1] = 5 end)
    refused("requires its gradient", function() x[{ { 1, 2 } }] = 5 end)
    assert.same({ 1, 2, 3 }, x:totable())
    assert.is_true((x * 2).requires_grad)
    rapt.no_grad(function() x[1] = 5 end)
    assert.same({ 5, 2, 3 }, x:totable())
    refused("result of a recorded call", function() local y = x * 2 y[1] = 1 end)
    assert.is_true((x * 2).requires_grad)
  end)

  it("by an operator shares no memory with its other inputs", function()
    local function adamw(p, g, m, v)
      return rapt.call("core.adamw", { param = p, grad = g, m = m, v = v }, { lr = 0.1, step = 1 })
    end
    local flat = rapt.ones(16)
    local function part(from) return flat:narrow(1, from, 4) end
    adamw(part(1), part(5), part(9), part(13))
    local before = flat:totable()
    refused("param is written in place but shares memory with grad", adamw, part(1), part(1), part(9),
      part(13))
    refused("m is written in place but shares memory with v", adamw, part(1), part(5), part(9), part(9))
    refused("param is written in place but shares memory with m", adamw, part(1), part(9), part(4),
      part(13))
    assert.same(before, flat:totable())
  end)
end)

describe("backward", function()
  it("adds to the leaves", function()
    local x = leaf { 1, 2, 3 }
    local y = (x * x + x * 2):sum()
    assert.is_true(y.requires_grad)
    assert.is_false(y.is_leaf)
    y:backward()
    assert.same({ 4, 6, 8 }, x.grad:totable())
    x:sum():backward()
    assert.same({ 5, 7, 9 }, x.grad:totable())
    assert.is_nil(x:zero_grad().grad)
    x:sum():backward()
    x.grad = nil
    assert.is_nil(x.grad)
  end)

  it("takes a seed", function()
    local x = leaf { 1, 2 };
    (x * 3):backward(rapt.tensor { 1, 10 })
    assert.same({ 3, 30 }, x.grad:totable())
    local ok, text = pcall(function() (x * 3):backward() end)
    assert.is_false(ok)
    assert.is_truthy(text:find("element", 1, true) or text:find("seed", 1, true), text)
  end)

  it("frees the graph unless told otherwise", function()
    local x = leaf { 2 }
    local y = (x * x):sum()
    y:backward(nil, { retain_graph = true })
    y:backward { retain_graph = true }
    y:backward()
    assert.same({ 12 }, x.grad:totable())
    assert.has_error(function() y:backward() end)
  end)

  it("stops at detach and requires_grad_(false)", function()
    local x = leaf { 3 }
    local y = (x * x:detach()):sum()
    y:backward()
    assert.same({ 3 }, x.grad:totable())
    assert.is_false(x:detach().requires_grad)
    local z = rapt.ones(1):requires_grad_()
    assert.is_true(z.requires_grad)
    z:requires_grad_(false)
    assert.is_false((z * 2).requires_grad)
    z.requires_grad = true
    assert.is_true((z * 2).requires_grad)
  end)

  it("goes through views", function()
    local x = rapt.arange(1, 13):view(3, 4):clone():requires_grad_()
    local picked = x[2] * 10 + x:transpose(1, 2)[{ {}, 3 }]:view(4)
      + x:narrow(1, 1, 1):expand(1, 4):reshape(4)
    picked:sum():backward()
    assert.same({ { 1, 1, 1, 1 }, { 10, 10, 10, 10 }, { 1, 1, 1, 1 } }, x.grad:totable())
    x:zero_grad()
    x:permute(2, 1):reshape(-1):narrow(1, 1, 3):backward(rapt.tensor { 1, 2, 3 })
    assert.same({ { 1, 0, 0, 0 }, { 2, 0, 0, 0 }, { 3, 0, 0, 0 } }, x.grad:totable())
    x:zero_grad()
    x[{ { 1, 2 }, 2 }]:unsqueeze(1):squeeze():to("f64"):sum():backward()
    assert.same({ { 0, 1, 0, 0 }, { 0, 1, 0, 0 }, { 0, 0, 0, 0 } }, x.grad:totable())
    assert.equal("f32", x.grad.dtype)
  end)

  it("sums the gradients of what was broadcast", function()
    local row, column = leaf { 1, 2, 3 }, leaf { { 10 }, { 20 } };
    (row * column):sum():backward()
    assert.same({ 30, 30, 30 }, row.grad:totable())
    assert.same({ { 6 }, { 6 } }, column.grad:totable())
  end)

  it("refuses to write into a graph", function()
    local x = leaf { 1, 2 }
    local y = x * 2
    assert.has_error(function() y[1] = 5 end)
    assert.has_error(function() y:fill_(0) end)
    rapt.no_grad(function() x[1] = 5 end)
    assert.same({ 5, 2 }, x:totable())
  end)

  it("refuses values that were written after they were used", function()
    local x = leaf { 1, 2 }
    local y = (x * x):sum()
    rapt.no_grad(function() x[1] = 5 end)
    local ok, text = pcall(function() y:backward() end)
    assert.is_false(ok)
    assert.is_nil(text:find("\n", 1, true))
    assert.is_nil(x.grad)
  end)
end)

describe("no_grad", function()
  it("records nothing and gives back what the function does", function()
    local x = leaf { 1 }
    local a, b, c = rapt.no_grad(function(p, q) return (x * p).requires_grad, q, nil end, 2, "q")
    assert.is_false(a)
    assert.equal("q", b)
    assert.is_nil(c)
    assert.is_true((x * 2).requires_grad)
  end)

  it("is left by errors", function()
    local x = leaf { 1 }
    assert.has_error(function() rapt.no_grad(function() error("out") end) end, nil)
    assert.is_true((x * 2).requires_grad)
    local problem = {}
    local ok, err = pcall(rapt.no_grad, function() error(problem) end)
    assert.is_false(ok)
    assert.is_true(rawequal(problem, err))
  end)

  it("can be nested", function()
    local x = leaf { 1 }
    rapt.no_grad(function()
      rapt.no_grad(function() end)
      assert.is_false((x * 2).requires_grad)
    end)
    assert.is_true((x * 2).requires_grad)
  end)
end)

-- --- Finite differences, from the descriptions -------------------------------------------------

-- Where a function is smooth: inputs are drawn above 0.5 instead of around 0.
local positive = { ["core.log"] = true, ["core.sqrt"] = true, ["core.pow_scalar"] = true,
  ["core.div"] = true }

local function sizes_of(description)
  local letters, attrs, leading = {}, {}, {}
  for name, value in (description.example or ""):gmatch("([%w_.]+)=(%S+)") do
    if name == "..." then
      for n in value:gmatch("%d+") do leading[#leading + 1] = math.min(tonumber(n), 3) end
    elseif name:match("^%u$") then
      letters[name] = math.min(math.tointeger(tonumber(value)), 4)
    elseif value == "true" or value == "false" then
      attrs[name] = value == "true"
    elseif value:find(",", 1, true) then
      attrs[name] = {}
      for n in value:gmatch("[^,]+") do table.insert(attrs[name], tonumber(n)) end
    else
      attrs[name] = tonumber(value) or value
    end
  end
  -- matmul: the inner sizes are one size
  if letters.P and letters.Q and letters.I then letters.J, letters.P = letters.Q, letters.Q end
  return letters, attrs, leading
end

local function shape_of(spec, letters, leading)
  if spec == "*" then return { 2, 3 } end -- the operator looks at shapes itself
  local shape = {}
  for part in spec:gmatch("%S+") do
    if part:find("^%.%.%.") then
      for _, n in ipairs(leading) do shape[#shape + 1] = n end
    else
      local name = part:gsub("%?$", "")
      shape[#shape + 1] = letters[name] or tonumber(name)
        or error(("no size for %s in %s"):format(part, spec))
    end
  end
  return shape
end

local function draw(input, name, shape, letters, compute)
  local dtype = input.dtype
  if dtype == "bool" then return rapt.randint(0, 2, shape, { dtype = "bool" }) end
  if dtype:find("i64", 1, true) or dtype:find("i32", 1, true) then
    return rapt.randint(0, letters.V or 2, shape, { dtype = "i64" })
  end
  local own = { dtype = dtype:find("T", 1, true) and compute or dtype:match("^[^|]+") }
  return positive[name] and rapt.rand(shape, own) + 0.5 or rapt.randn(shape, own)
end

-- In f64 where the operator takes it; in f32 with a greater step.
local function precision(description)
  for _, kernel in ipairs(description.kernels) do
    for _, dtype in ipairs(kernel.dtypes) do
      if dtype == "f64" then return { dtype = "f64", step = 1e-6, tolerance = 1e-6 } end
    end
  end
  return { dtype = "f32", step = 4e-3, tolerance = 1e-3 }
end

--- Compares gradients with central differences, element by element.
local function check(name, inputs, attrs, how)
  local description = rapt.describe(name)
  local function value(weights)
    local out, others = rapt.call(name, inputs, attrs)
    local total = weights(1, out)
    local i = 1
    for _, output in ipairs(description.outputs) do
      if others[output.name] and output.differentiable then
        i = i + 1
        total = total + weights(i, others[output.name])
      end
    end
    return total
  end
  local drawn = {}
  -- one number of a tensor, by factors that stay the same
  local function weights(i, t)
    drawn[i] = drawn[i] or rapt.randn(t.shape, { dtype = "f64" })
    return (t:to("f64") * drawn[i]):sum()
  end
  local leaves = {}
  for _, input in ipairs(description.inputs) do
    if inputs[input.name] and input.differentiable then
      leaves[#leaves + 1] = input.name
      inputs[input.name]:requires_grad_()
    end
  end
  value(weights):backward()
  for _, input_name in ipairs(leaves) do
    local x = inputs[input_name]
    local grad = x.grad:reshape(-1):totable()
    x:requires_grad_(false)
    local flat = x:view(-1)
    for i = 1, x:numel() do
      local before = flat[i]:item()
      flat[i] = before + how.step
      local above = value(weights):item()
      flat[i] = before - how.step
      local below = value(weights):item()
      flat[i] = before
      local difference = (above - below) / (2 * how.step)
      local scale = math.max(1, math.abs(difference))
      assert.is_true(math.abs(difference - grad[i]) <= how.tolerance * scale,
        ("%s: d%s[%d] is %.9g, by differences %.9g"):format(name, input_name, i, grad[i], difference))
    end
  end
  return #leaves
end

describe("gradients against finite differences", function()
  for _, name in ipairs(rapt.operators("all")) do
    local description = rapt.describe(name)
    local differentiable = false
    for _, kernel in ipairs(description.kernels) do differentiable = differentiable or kernel.backward end
    if name:find("^core%.") and differentiable then
      it("of " .. name, function()
        rapt.manual_seed(11)
        local letters, attrs, leading = sizes_of(description)
        local inputs = {}
        local how = precision(description)
        for _, input in ipairs(description.inputs) do
          inputs[input.name] = draw(input, name, shape_of(input.shape, letters, leading), letters, how.dtype)
        end
        assert.is_true(check(name, inputs, attrs, how) > 0, "no differentiable input")
      end)
    end
  end
end)
