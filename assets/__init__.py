"""What exists: one stage is one module, or one package of the same name.

Belongs here: the assets of every stage, code that all stages share (framework/), pure computation (transforms/).
Not here: opening connections (resources/), when and where a stage runs (pipelines/).
"""
