-- The Lua side of tensors: operators of the core as functions and methods, and small conveniences.

--- Adds to the module `rapt` and to the methods of tensors.
return function(rapt, core)
  local methods = core.methods
  -- for completion at the prompt
  core.metatable.methods = methods

  -- Every operator core.NAME is rapt.NAME(a, ...) and, unless the name is taken, a:NAME(...).
  for name, call in pairs(core.core_functions()) do
    if rapt[name] == nil then rapt[name] = call end
    if methods[name] == nil then methods[name] = call end
  end
  if rapt.pow_scalar then
    rapt.pow, methods.pow = rapt.pow_scalar, rapt.pow_scalar
  end

  local function like(make, name)
    return function(t, options)
      if not core.is_tensor(t) then
        core.raise(("rapt.%s: argument 1 must be a tensor, got %s"):format(name, type(t)))
      end
      if options ~= nil and type(options) ~= "table" then
        core.raise(("rapt.%s: options must be a table, got %s"):format(name, type(options)))
      end
      local all = { dtype = t.dtype, device = t.device }
      for key, value in pairs(options or {}) do all[key] = value end
      return make(t.shape, all)
    end
  end
  rapt.zeros_like = like(core.zeros, "zeros_like")
  rapt.ones_like = like(core.ones, "ones_like")
  rapt.rand_like = like(core.rand, "rand_like")
  rapt.randn_like = like(core.randn, "randn_like")

  function methods.zero_(t)
    return t:fill_(0)
  end
end
